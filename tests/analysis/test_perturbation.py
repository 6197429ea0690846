import pytest
import torch
from pytest import approx
from tiny import TinyNetwork, images
from torch.testing import assert_close

from ltcls.analysis.landscape import directions, steps_of, walk
from ltcls.analysis.perturbation import (Noise, filter_normalised, fluctuation, generator_of, probe,
                                         random_probe, sam_offset, sam_sharpness)
from ltcls.analysis.surface import LossSurface, Measured, moved

A = torch.tensor([4.0, 1.0], dtype=torch.float64)


def quadratic():
    """L(w) = (4 w1^2 + w2^2) / 2 at w = (1, 2), where it is 4."""
    w = torch.tensor([1.0, 2.0], dtype=torch.float64)
    return w, lambda: Measured((A * w * w).sum()[None] / 2, torch.ones(1))


def test_five_given_perturbations_of_a_quadratic_give_the_worked_out_numbers():
    w, evaluate = quadratic()
    offsets = [[torch.tensor(o, dtype=torch.float64)]
               for o in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1), (0.1, 0.1))]
    base, drawn = probe(evaluate, [w], offsets)
    losses = [float(m.losses) for m in drawn]
    assert float(base.losses) == 4
    assert losses == approx([4.42, 3.62, 4.205, 3.805, 4.625])
    found = fluctuation(4.0, losses)
    assert found == approx(dict(mean=4.135, std=0.37425927, min=3.62, max=4.625, rise=0.135,
                                rise_max=0.625, rise_rms=0.39786304, relative=0.03375))
    assert w.tolist() == [1, 2]


def test_the_expected_rise_under_gaussian_noise_is_half_the_variance_times_the_trace():
    w, evaluate = quadratic()
    noise = Noise('gaussian', 0.04)
    offsets = (noise.draw(dict(w=w), generator_of(0, t)) for t in range(4000))
    _, drawn = probe(evaluate, [w], offsets)
    rises = torch.stack([m.losses for m in drawn]) - 4
    # E = 0.04 / 2 * (4 + 1) = 0.1; the standard deviation of a draw is about 0.9
    assert float(rises.mean()) == approx(0.1, abs=4 * float(rises.std()) / 4000 ** 0.5)
    assert float(rises.std()) == approx((0.04 * 20 + 0.04 ** 2 / 2 * 17) ** 0.5, rel=0.05)


def test_filters_of_a_direction_are_as_long_as_those_of_the_weights(monkeypatch):
    weights = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    drawn = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    monkeypatch.setattr(torch, 'randn', lambda shape, generator: drawn.view(shape))
    found, = filter_normalised(dict(w=weights), None)
    assert_close(found, torch.tensor([[5.0, 0.0], [2 ** 0.5, 2 ** 0.5]]))


def test_convolutions_tokens_and_biases_have_their_own_filters():
    generator = torch.Generator().manual_seed(0)
    named = dict(conv=torch.randn(4, 3, 2, 2, generator=generator),
                 prompt=torch.randn(2, 5, 7, generator=generator),
                 bias=torch.randn(4, generator=generator))
    conv, prompt, bias = filter_normalised(named, generator_of(0, 0))
    assert_close(conv.flatten(1).norm(dim=1), named['conv'].flatten(1).norm(dim=1))
    assert_close(prompt.norm(dim=2), named['prompt'].norm(dim=2))
    assert not bias.any()


def test_the_kinds_of_noise_have_their_scales():
    named = dict(w=torch.full((200, 300), 0.5))
    drawn = {kind: Noise(kind, 0.1).draw(named, generator_of(0, 0))[0]
             for kind in ('gaussian', 'relative', 'filter', 'uniform')}
    assert float(drawn['gaussian'].var()) == approx(0.1, rel=0.02)
    assert float(drawn['relative'].norm() / named['w'].norm()) == approx(0.1, rel=0.02)
    assert_close(drawn['filter'].norm(dim=1), 0.1 * named['w'].norm(dim=1))
    assert float(drawn['uniform'].abs().max()) == approx(0.05, rel=0.001)
    assert float(drawn['uniform'].var()) == approx(0.01 / 12, rel=0.02)


@pytest.mark.parametrize('text', ['gaussian', 'gauss:1', 'filter:-1', 'filter:x', 'uniform:0'])
def test_unknown_noise_is_refused(text):
    with pytest.raises(ValueError, match='write one of gaussian:SCALE'):
        Noise.parse(text)


def test_the_perturbation_of_sam_has_its_closed_form():
    w = torch.tensor([1.0, 2.0], dtype=torch.float64)
    slope = [A * w]
    assert_close(sam_offset(slope, [w], 0.1)[0].tolist(), [0.08944272, 0.04472136])
    assert_close(sam_offset(slope, [w], 0.1, adaptive=True)[0].tolist(), [0.07071068, 0.14142136])


def test_the_sharpness_of_a_network_is_the_rise_at_the_worst_point():
    network, (inputs, labels) = TinyNetwork(), images()
    surface = LossSurface(network, inputs, labels, batch_size=5, scope='all')
    before = [p.detach().clone() for p in network.parameters()]
    found = sam_sharpness(surface, [2], surface.gradient([2]), rho=0.2)
    loss = -torch.log_softmax(network(inputs.double() / 255), 1)[labels == 2, 2].mean()
    slopes = torch.autograd.grad(loss, list(network.parameters()))
    length = sum(float(g.square().sum()) for g in slopes) ** 0.5
    with torch.no_grad():
        for p, g in zip(network.parameters(), slopes):
            p += 0.2 * g / length
        expected = -torch.log_softmax(network(inputs.double() / 255), 1)[labels == 2, 2].mean()
    assert found == approx(float(expected - loss.detach()))
    assert found > 0
    with torch.no_grad():
        for p, old in zip(network.parameters(), before):
            p.copy_(old)


def test_a_probe_of_a_network_evaluates_it_at_the_perturbed_weights_and_puts_them_back():
    network, (inputs, labels) = TinyNetwork(), images()
    surface = LossSurface(network, inputs, labels, batch_size=5)
    before = [p.detach().clone() for p in network.parameters()]
    base, drawn = random_probe(surface, Noise('gaussian', 0.1), draws=2, seed=7)
    assert all(torch.equal(p, old) for p, old in zip(network.parameters(), before))
    pixels = inputs.double() / 255
    assert_close(base.losses, torch.nn.functional.cross_entropy(
        network(pixels), labels, reduction='none').detach())
    offset = Noise('gaussian', 0.1).draw(surface.named, generator_of(7, 1))
    with moved(surface.params, offset):
        assert network.head.bias.equal(before[3])          # biases stay
        logits = network(pixels).detach()
    assert_close(drawn[1].losses, -torch.log_softmax(logits, 1)[range(13), labels])
    assert_close(drawn[1].correct, (logits.argmax(1) == labels).double())
    assert not torch.equal(drawn[0].losses, drawn[1].losses)


def test_weights_are_put_back_also_after_an_error():
    w = torch.tensor([0.1, 0.3])
    with pytest.raises(RuntimeError), moved([w], [torch.tensor([1e6, 1.0])]):
        raise RuntimeError
    assert w.equal(torch.tensor([0.1, 0.3]))


def test_the_middle_of_a_curve_is_the_trained_model_and_a_surface_contains_the_curve():
    network, (inputs, labels) = TinyNetwork(), images()
    surface = LossSurface(network, inputs, labels)
    along = directions(surface, 2, seed=3)
    steps = steps_of(0.5, 3)
    assert steps == [-0.5, 0, 0.5]
    curve = torch.stack([m.losses for m in walk(surface, directions(surface, 1, seed=3), steps)])
    plane = torch.stack([m.losses for m in walk(surface, along, steps)]).view(3, 3, -1)
    assert_close(curve[1], surface.evaluate().losses)
    assert_close(plane[:, 1], curve)
    offset = [0.5 * a - 0.5 * b for a, b in zip(*along)]
    with moved(surface.params, offset):
        assert_close(plane[2, 0], surface.evaluate().losses)


@pytest.mark.parametrize(('reach', 'points'), [(1.0, 4), (1.0, 1), (0.0, 5)])
def test_a_curve_without_the_trained_model_is_refused(reach, points):
    with pytest.raises(ValueError, match='odd number'):
        steps_of(reach, points)
