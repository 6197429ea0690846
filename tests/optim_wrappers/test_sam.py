"""SAM, ASAM, ImbSAM, RwSAM, gradient-norm penalty and model perturbation: worked values and loops."""

import pytest
import torch
import torch.nn.functional as F
from perturbed_toys import FunctionModel, objective, quadratic, rows, sgd
from torch.testing import assert_close

from ltcls.longtail import Clock
from ltcls.optim_wrappers import SAM, GradientNormPenalty, ImbSAM, ModelPerturbation, RwSAM

# L(w) = (4 w_1^2 + w_2^2) / 2 at w = (1, 2): gradient (4, 2), rate 0.1.
A = rows([4, 1])


def step(method, inputs=A, steps=1, labels=None, class_counts=(1,), optimizer=None, names=1,
         epoch=0, **options):
    """The weights after `steps` steps from (1, 2), in one tensor or two."""
    weights = dict(weight=[1.0, 2.0]) if names == 1 else dict(weight=[1.0], bias=[2.0])
    model = FunctionModel(quadratic, class_counts=class_counts, **weights)
    model.clock = Clock(epoch, 90, epoch / 90)
    wrapper = method(sgd(model, **(optimizer or {})), **options)
    for _ in range(steps):
        wrapper.update_params(objective(model, inputs, labels))
    return torch.cat([p.detach() for p in model.parameters()])


def near(found, *expected):
    assert_close(found, rows(*expected), atol=1e-8, rtol=0)


# -- worked values --------------------------------------------------------------------------------


def test_sam_descends_with_the_gradient_at_the_end_of_the_radius():
    near(step(SAM, rho=0.1), 0.56422291, 1.79552786)
    near(step(SAM, rho=0.1, steps=2, optimizer=dict(momentum=0.9)), -0.08496783, 1.42572434)


def test_one_norm_goes_over_all_tensors():
    near(step(SAM, rho=0.1, names=2), 0.56422291, 1.79552786)


def test_weight_decay_is_applied_once_at_the_weights():
    near(step(SAM, rho=0.1, optimizer=dict(weight_decay=0.1)), 0.55422291, 1.77552786)


@pytest.mark.parametrize(('options', 'expected'), [
    (dict(eta=0.0, adaptive_names=''), (0.57171573, 1.78585786)),
    (dict(eta=0.01, adaptive_names=''), (0.57136209, 1.78582246)),
    (dict(eta=0.01), (0.56379373, 1.79556339))], ids=['all, eta 0', 'all', 'weights only'])
def test_asam_follows_the_size_of_each_weight(options, expected):
    near(step(SAM, rho=0.1, adaptive=True, names=2, **options), *expected)


def test_asam_in_one_tensor_is_asam_in_two_when_every_tensor_counts():
    options = dict(rho=0.1, adaptive=True, eta=0.0, adaptive_names='')
    assert_close(step(SAM, **options), step(SAM, names=2, **options))


def test_a_frozen_weight_has_no_part_in_the_norm():
    model = FunctionModel(quadratic, weight=[1.0], bias=[2.0])
    model.bias.requires_grad_(False)
    SAM(sgd(model), rho=0.1).update_params(objective(model, A))
    near(torch.cat([model.weight.detach(), model.bias]), 0.56, 2)


def test_the_gradient_norm_penalty_mixes_two_gradients():
    near(step(GradientNormPenalty, rho=0.1, share=0.8), 0.57137833, 1.79642229)
    first = rows(1, 2) - 0.1 * rows(3.66510214, 1.72521981)
    near(step(GradientNormPenalty, rho=0.1, share=0.8, normalise_first=True), *first.tolist())
    assert_close(step(GradientNormPenalty, rho=0.1, share=1.0), step(SAM, rho=0.1))


def test_two_accumulated_batches_are_sam_of_two_parts():
    model = FunctionModel(quadratic, weight=[1.0, 2.0])
    wrapper = SAM(sgd(model), rho=0.1, accumulative_counts=2)
    wrapper.update_params(objective(model, rows([1, 3])))
    near(model.weight.detach(), 1, 2)
    wrapper.update_params(objective(model, rows([4, 1])))
    near(model.weight.detach(), 0.73128946, 1.58296802)


IMBALANCED = dict(inputs=rows([1, 3], [1, 3], [1, 3], [4, 1]), labels=torch.tensor([0, 0, 0, 1]),
                  class_counts=(100, 5))


def test_imbsam_perturbs_the_tail_alone():
    near(step(ImbSAM, rho=0.1, threshold=20, **IMBALANCED), 0.70711146, 1.44776393)


def test_imbsam_without_head_classes_is_sam_and_without_tail_classes_the_plain_step():
    everything = step(ImbSAM, rho=0.1, threshold=1000, tail_weight=1, **IMBALANCED)
    assert_close(everything, step(SAM, rho=0.1, **IMBALANCED))
    nothing = step(ImbSAM, rho=0.1, threshold=0, **IMBALANCED)
    assert torch.equal(nothing, step(SAM, rho=0, **IMBALANCED))


def test_without_radius_imbsam_still_weighs_the_tail_more():
    # Of four images the head's have gradients (1, 6) and the tail's (4, 2).
    found = rows(1, 2) - 0.1 * rows((3 * 1 + 2 * 4) / 4, (3 * 6 + 2 * 2) / 4)
    near(step(ImbSAM, rho=0.0, tail_weight=2.0, **IMBALANCED), *found.tolist())


def test_a_class_of_threshold_images_is_no_tail():
    at_threshold = dict(IMBALANCED, class_counts=(100, 20))
    assert torch.equal(step(ImbSAM, rho=0.05, threshold=20, **at_threshold),
                       step(ImbSAM, rho=0.05, threshold=0, **at_threshold))


def test_names_that_fit_nothing_are_refused():
    with pytest.raises(ValueError, match="adaptive_names='kernel' fits no parameter"):
        step(SAM, rho=0.1, adaptive=True, adaptive_names='kernel')


def test_imbsam_does_not_start_where_no_class_is_below_its_threshold():
    model = FunctionModel(quadratic, weight=[1.0, 2.0])
    ImbSAM(sgd(model), threshold=6).check_counts([100, 5])
    ImbSAM(sgd(model), threshold=0).check_counts([100, 5])      # no tail is wanted
    with pytest.raises(ValueError, match='has no tail: the rarest class has 5 training images, and '
                                         'optim_wrapper.threshold=5. Raise it.'):
        ImbSAM(sgd(model), threshold=5).check_counts([100, 5])


def test_a_class_without_images_is_no_tail():
    model = FunctionModel(quadratic, weight=[1.0, 2.0])
    ImbSAM(sgd(model), threshold=20).check_counts([40, 10, 0])
    with pytest.raises(ValueError, match='the rarest class has 25 training images'):
        ImbSAM(sgd(model), threshold=20).check_counts([40, 30, 25, 0])


def test_imbsam_evaluates_twice_also_without_a_tail_sample():
    model = FunctionModel(quadratic, weight=[1.0, 2.0], class_counts=(100, 5))
    ImbSAM(sgd(model)).update_params(objective(model, A))
    assert model.evaluations == 2


def test_rwsam_climbs_the_weighted_loss_and_descends_the_plain_one():
    # The tail class is the rarest of ten: weight 1.2 ** 9.
    counts = (100, 5, *range(6, 14))
    near(step(RwSAM, rho=0.1, growth=1.2, **dict(IMBALANCED, class_counts=counts)),
         0.81378572, 1.48080764)
    assert torch.equal(step(RwSAM, rho=0.1, growth=1, **IMBALANCED),
                       step(SAM, rho=0.1, **IMBALANCED))


def test_rwsam_ranks_classes_in_any_order():
    inputs = rows([1, 3], [4, 1], [2, 2])
    found = [step(RwSAM, inputs, labels=torch.tensor(labels), class_counts=counts, rho=0.3,
                  growth=3.0)
             for labels, counts in (([0, 1, 2], (50, 10, 3)), ([1, 2, 0], (3, 50, 10)))]
    assert torch.equal(*found)


def test_rwsam_stays_finite_with_a_thousand_classes():
    model = FunctionModel(quadratic, weight=[1.0, 2.0], class_counts=range(2000, 1000, -1))
    RwSAM(sgd(model), rho=0.1, growth=1.6).update_params(objective(model, A))
    assert model.weight.isfinite().all()


def test_rwsam_keeps_its_radius_in_a_batch_of_frequent_classes():
    # Of a thousand classes: the weights of the two would be 1.6 ** -998 and 1.6 ** -999.
    batch = dict(inputs=rows([1, 3], [4, 1]), labels=torch.tensor([0, 1]), rho=0.3, growth=1.6)
    assert torch.equal(step(RwSAM, class_counts=range(2000, 1000, -1), **batch),
                       step(RwSAM, class_counts=(2000, 1999), **batch))


class FixedNoise(ModelPerturbation):
    """Two given offsets, in turn."""

    def draw(self, flat):
        self.drawn = getattr(self, 'drawn', 0) + 1
        flat.copy_(rows([0.1, 0], [-0.05, 0.2])[(self.drawn - 1) % 2])


def test_model_perturbation_averages_the_gradients_of_its_draws():
    near(step(FixedNoise), 0.59, 1.79)
    spread = rows(1, 2) - 0.1 * rows(4.94852814, 1.81715729)
    near(step(FixedNoise, std_weight=2.0), *spread.tolist())


@pytest.mark.parametrize('method', [SAM, RwSAM, ImbSAM, GradientNormPenalty])
def test_the_radius_may_change_with_the_epoch(method):
    schedule = [(0, 0.0), (6, 0.3), (61, 0.5)]
    for epoch, rho in ((0, 0.0), (5, 0.0), (6, 0.3), (60, 0.3), (61, 0.5), (89, 0.5)):
        assert torch.equal(step(method, epoch=epoch, rho=schedule, **IMBALANCED),
                           step(method, rho=rho, **IMBALANCED))
    assert not torch.equal(step(method, rho=0.0, **IMBALANCED),
                           step(method, rho=0.3, **IMBALANCED))


# -- against loops over parameters ----------------------------------------------------------------


def network(model, inputs, labels):
    hidden = torch.tanh(F.linear(inputs, model.weight1, model.bias1))
    return F.cross_entropy(F.linear(hidden, model.weight2, model.bias2), labels, reduction='none')


def make(seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator,     # noqa: E731
                                      dtype=torch.float64).tolist()
    model = FunctionModel(network, class_counts=(50, 10, 3), weight1=draw(4, 3), bias1=draw(4),
                          weight2=draw(3, 4), bias2=draw(3))
    inputs = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    return model, inputs, torch.tensor([0, 1, 2, 0, 0, 2])


def slopes(model, inputs, labels, weights=None):
    losses = network(model, inputs, labels)
    losses = losses if weights is None else losses * weights
    return {name: g for (name, _), g in zip(
        model.named_parameters(), torch.autograd.grad(losses.mean(), list(model.parameters())))}


def moved(model, offsets):
    """A copy of the model at other weights, parameter by parameter."""
    other, _, _ = make()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.copy_(dict(model.named_parameters())[name] + offsets[name])
    return other


def scaled(gradient, rho):
    norm = sum(float((g ** 2).sum()) for g in gradient.values()) ** 0.5
    return {name: rho * g / norm for name, g in gradient.items()}


def loop_sam(model, x, y, rho):
    return slopes(moved(model, scaled(slopes(model, x, y), rho)), x, y)


def loop_asam(model, x, y, rho, eta):
    gradient, sizes = slopes(model, x, y), {}
    for name, parameter in model.named_parameters():
        sizes[name] = (parameter.detach().abs() + eta if 'weight' in name
                       else torch.ones_like(parameter))
    norm = sum(float(((sizes[n] * g) ** 2).sum()) for n, g in gradient.items()) ** 0.5
    return slopes(moved(model, {n: rho * sizes[n] ** 2 * g / norm for n, g in gradient.items()}),
                  x, y)


def loop_imbsam(model, x, y, rho):
    tail = (torch.tensor([50, 10, 3])[y] < 20).double()
    there = slopes(moved(model, scaled(slopes(model, x, y, tail), rho)), x, y, 2 * tail)
    here = slopes(model, x, y, 1 - tail)
    return {name: here[name] + there[name] for name in here}


def loop_rwsam(model, x, y, rho):
    weights = torch.tensor([1.5 ** int(label) for label in y], dtype=torch.float64)
    return slopes(moved(model, scaled(slopes(model, x, y, weights), rho)), x, y)


def loop_penalty(model, x, y, rho):
    here, there = slopes(model, x, y), loop_sam(model, x, y, rho)
    return {name: 0.3 * here[name] + 0.7 * there[name] for name in here}


@pytest.mark.parametrize(('method', 'options', 'loop'), [
    (SAM, {}, lambda *a: loop_sam(*a, 0.3)),
    (SAM, dict(adaptive=True, eta=0.05), lambda *a: loop_asam(*a, 0.3, 0.05)),
    (ImbSAM, dict(threshold=20), lambda *a: loop_imbsam(*a, 0.3)),
    (RwSAM, dict(growth=1.5), lambda *a: loop_rwsam(*a, 0.3)),
    (GradientNormPenalty, dict(share=0.7), lambda *a: loop_penalty(*a, 0.3))],
    ids=['SAM', 'ASAM', 'ImbSAM', 'RwSAM', 'GradientNormPenalty'])
def test_a_step_is_that_of_the_loop_over_parameters(method, options, loop):
    model, x, y = make()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    expected = loop(model, x, y)
    method(sgd(model, lr=0.5), rho=0.3, **options).update_params(objective(model, x, y))
    for name, parameter in model.named_parameters():
        assert_close(parameter.detach(), before[name] - 0.5 * expected[name], atol=1e-12, rtol=0)


def test_model_perturbation_is_the_gradient_of_mean_plus_spread():
    # Autograd through the offsets of all draws at once, against the draws one after another.
    class Recorded(ModelPerturbation):
        def draw(self, flat):
            super().draw(flat)
            self.record = [*getattr(self, 'record', []), flat.clone()]

    model, x, y = make()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    wrapper = Recorded(sgd(model, lr=0.5), draws=3, bound=0.5, std_weight=0.7)
    wrapper.update_params(objective(model, x, y))
    leaves = {name: value.clone().requires_grad_() for name, value in before.items()}
    losses = []
    for flat in wrapper.record:
        parts = dict(zip(leaves, flat.split([p.numel() for p in leaves.values()])))
        point = type('Point', (), {n: p + parts[n].view_as(p) for n, p in leaves.items()})
        losses.append(network(point, x, y).mean())
    losses = torch.stack(losses)
    (losses.mean() + 0.7 * losses.std()).backward()
    for name, parameter in model.named_parameters():
        assert_close(parameter.detach(), before[name] - 0.5 * leaves[name].grad,
                     atol=1e-12, rtol=0)


@pytest.mark.parametrize(('options', 'low', 'high', 'std'), [
    (dict(distribution='uniform', bound=0.2), -0.1, 0.1, 0.2 / 12 ** 0.5),
    (dict(distribution='gaussian', variance=0.04), -2, 2, 0.2)])
def test_noise_has_the_stated_spread(options, low, high, std):
    torch.manual_seed(0)
    model, _, _ = make()
    drawn = torch.empty(200_000, dtype=torch.float64)
    ModelPerturbation(sgd(model), **options).draw(drawn)
    assert low <= drawn.min() and drawn.max() <= high
    assert_close(drawn.std(), rows(std)[0], rtol=0.01, atol=0)


def test_discrete_noise_has_five_levels():
    torch.manual_seed(0)
    model, _, _ = make()
    drawn = torch.empty(5000, dtype=torch.float64)
    seen = set()
    wrapper = ModelPerturbation(sgd(model), distribution='discrete_beta', bound=0.4)
    for _ in range(20):               # the shape of the distribution changes from draw to draw
        wrapper.draw(drawn)
        levels = drawn.unique()
        assert_close(levels / 0.1, (levels / 0.1).round(), atol=1e-12, rtol=0)
        seen |= set((levels / 0.1).round().int().tolist())
    assert seen == {-2, -1, 0, 1, 2}
