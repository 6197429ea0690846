import pytest
import torch
import torch.nn.functional as F
from pytest import approx
from tiny import TinyNetwork, images
from torch.testing import assert_close

from ltcls.analysis.flatness import MEASURE, FlatnessOptions, Parts
from ltcls.analysis.hessian import hutchinson_trace, lanczos
from ltcls.analysis.surface import LossSurface, image_weights

# Softmax regression without a bias: images (1, 0), (0, 2), (1, 1) of classes 0, 1, 0.
IMAGES = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 0])
WEIGHTS = torch.tensor([[0.5, -0.5], [0.0, 0.25]], dtype=torch.float64)


def regression(chosen):
    """Products with the Hessian of the mean loss of these images, from autograd on a function."""
    def loss(flat):
        return F.cross_entropy(IMAGES[chosen] @ flat.view(2, 2).T, LABELS[chosen])
    matrix = torch.autograd.functional.hessian(loss, WEIGHTS.flatten())
    return lambda vector: matrix @ vector


def start(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(('chosen', 'top', 'trace'), [
    ([0, 1, 2], 0.64488396, 0.88257179),
    ([0, 2], 0.63637881, 0.72727188),
    ([1], 1.19317162, 1.19317162),
], ids=['all', 'class 0', 'class 1'])
def test_softmax_regression_has_the_worked_out_curvature(chosen, top, trace):
    product = regression(chosen)
    ends = lanczos(product, start(4), steps=4)
    assert ends.top == approx(top, abs=1e-8)
    assert ends.bottom == approx(0, abs=1e-8)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4)
    assert sum(float(z @ product(z)) for z in signs) / 16 == approx(trace, abs=1e-8)
    drawn = hutchinson_trace(product, torch.zeros(4, dtype=torch.float64), draws=400,
                             generator=torch.Generator().manual_seed(0))
    assert abs(drawn.value - trace) < 3 * drawn.error + 1e-9
    assert drawn.error < 0.1


def test_both_ends_keep_their_sign_where_power_iteration_would_give_one():
    diagonal = torch.tensor([2.0, 1.0, -5.0], dtype=torch.float64)
    ends = lanczos(lambda v: diagonal * v, start(3))
    assert (ends.top, ends.bottom) == approx((2, -5))
    assert ends.negativity == approx(2.5)
    assert ends.nodes == approx([-5, 1, 2])
    assert sum(ends.masses) == approx(1)
    positive = lanczos(lambda v: diagonal.abs() * v, start(3))
    assert (positive.top, positive.bottom, positive.negativity) == approx((5, 1, 0))


def test_masses_are_the_squares_of_the_start_along_the_eigenvectors():
    diagonal = torch.tensor([3.0, 1.0, -2.0], dtype=torch.float64)
    ends = lanczos(lambda v: diagonal * v, torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64))
    assert ends.nodes == approx([-2, 1, 3])
    assert ends.masses == approx([4 / 9, 4 / 9, 1 / 9])


def test_one_draw_of_the_trace_says_nothing_of_its_error():
    assert hutchinson_trace(lambda v: v, torch.zeros(2), draws=1) == (2, None)


def test_the_trace_of_a_diagonal_matrix_needs_one_draw():
    diagonal = torch.tensor([2.0, 1.0, -5.0, 0.25], dtype=torch.float64)
    found = hutchinson_trace(lambda v: diagonal * v, torch.zeros_like(diagonal), draws=3)
    assert found == approx((-1.75, 0))


def test_lanczos_stops_early_and_says_how_sure_it_is():
    values = torch.cat([torch.linspace(-1, 1, 200), torch.tensor([30.0, -20.0])]).double()
    turn, _ = torch.linalg.qr(torch.randn(202, 202, dtype=torch.float64,
                                          generator=torch.Generator().manual_seed(1)))
    matrix = turn @ torch.diag(values) @ turn.T
    ends = lanczos(lambda v: matrix @ v, start(202), steps=100, tolerance=1e-4)
    assert ends.steps < 20
    assert abs(ends.top - 30) <= ends.residual + 1e-9
    assert abs(ends.bottom + 20) <= ends.residual + 1e-9
    rough = lanczos(lambda v: matrix @ v, start(202), steps=2)
    assert rough.steps == 2
    assert rough.residual > 1
    assert rough.bottom > -20 and rough.top < 30


def test_a_start_in_an_invariant_space_ends_there():
    diagonal = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    ends = lanczos(lambda v: diagonal * v, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    assert (ends.top, ends.bottom, ends.steps) == (2, 2, 1)


def test_products_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match='diverged'):
        lanczos(lambda v: v * float('nan'), start(3))
    with pytest.raises(ValueError, match='steps=0'):
        lanczos(lambda v: v, start(3), steps=0)
    with pytest.raises(ValueError, match='draws=0'):
        hutchinson_trace(lambda v: v, start(3), draws=0)


def full_hessian(network, inputs, labels, classes):
    """The whole Hessian of the mean of the classes' mean losses, and the gradient."""
    names = [name for name, _ in network.named_parameters()]
    shapes = [p.shape for p in network.parameters()]
    pixels = inputs.double() / 255

    def loss(flat):
        sizes = [shape.numel() for shape in shapes]
        parts = {n: piece.view(shape)
                 for n, piece, shape in zip(names, flat.split(sizes), shapes)}
        logits = torch.func.functional_call(network, parts, (pixels,))
        log_shares = logits - logits.exp().sum(1, keepdim=True).log()
        return -torch.stack([log_shares[labels == c, c].mean() for c in classes]).mean()

    flat = torch.cat([p.detach().flatten() for p in network.parameters()])
    return (torch.autograd.functional.hessian(loss, flat),
            torch.autograd.functional.jacobian(loss, flat))


@pytest.mark.parametrize('classes', [[0, 1, 2], [1, 2], [2]], ids=str)
def test_products_and_spectrum_of_a_network_are_those_of_its_full_hessian(classes):
    network, (inputs, labels) = TinyNetwork(), images()
    matrix, slope = full_hessian(network, inputs, labels, classes)
    surface = LossSurface(network, inputs, labels, batch_size=4, scope='all')
    assert_close(torch.cat([g.flatten() for g in surface.gradient(classes)]), slope)
    vector = start(len(matrix), seed=3)
    assert_close(surface.hessian_product(vector, classes), matrix @ vector)
    values = torch.linalg.eigvalsh(matrix)
    ends = lanczos(lambda v: surface.hessian_product(v, classes), start(len(matrix)),
                   steps=len(matrix), tolerance=1e-7)
    assert ends.top == approx(float(values[-1]), rel=1e-5)
    assert ends.bottom == approx(float(values[0]), abs=1e-6 * float(values[-1]))


def test_a_scope_takes_the_block_of_its_parameters():
    network, (inputs, labels) = TinyNetwork(), images()
    matrix, _ = full_hessian(network, inputs, labels, [0, 1, 2])
    # conv weight 8, conv bias 2, head weight 24, head bias 3
    for scope, rows in dict(backbone=[*range(8)], head=[*range(10, 34)],
                            weights=[*range(8), *range(10, 34)]).items():
        surface = LossSurface(network, inputs, labels, scope=scope)
        vector = start(len(rows), seed=4)
        assert_close(surface.hessian_product(vector, [0, 1, 2]), matrix[rows][:, rows] @ vector)


def test_images_weigh_as_the_mean_of_class_means():
    labels = torch.tensor([0, 0, 0, 1, 3])
    assert image_weights(labels, [0, 1]).tolist() == approx([1 / 6, 1 / 6, 1 / 6, 1 / 2, 0])
    assert image_weights(labels, [2, 3, 9]).tolist() == [0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match='has an image'):
        image_weights(labels, [2])


def test_answers_of_several_experts_are_averaged():
    class Experts(TinyNetwork):
        def forward(self, inputs):
            logits = super().forward(inputs)
            return torch.stack([logits, 3 * logits], dim=1)

    network, (inputs, labels) = Experts(), images()
    with torch.no_grad():
        logits = TinyNetwork.forward(network, inputs.double() / 255)
    assert_close(LossSurface(network, inputs, labels).evaluate().losses,
                 F.cross_entropy(2 * logits, labels, reduction='none'))


@pytest.mark.parametrize(('each', 'rows'), [(False, 0), (True, 3)])
def test_the_hessian_of_single_classes_is_measured_on_demand(each, rows):
    record = dict(per_class=[dict(index=c, name=str(c), group='few', train_count=n)
                             for c, n in enumerate((7, 4, 2))])
    surface = LossSurface(TinyNetwork(), *images(), scope='all')
    options = FlatnessOptions(steps=1, trace_draws=1, each_class=each)
    found = MEASURE['hessian'](surface, Parts.of(record, surface.labels), options)
    assert len(found['classes']) == rows and set(found['parts']) == {'overall', 'few'}
    assert found['parts']['few']['trace_error'] is None


def test_an_unknown_scope_is_named():
    with pytest.raises(ValueError, match="scope='biases' must be one of weights"):
        LossSurface(TinyNetwork(), *images(), scope='biases')
