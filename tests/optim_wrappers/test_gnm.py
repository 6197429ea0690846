"""GNM: worked steps, the noise, its schedule, ranks and windows."""

import pytest
import torch
import torch.nn.functional as F
from perturbed_toys import (FunctionModel, batch, classifier, objective, quadratic, rows, same,
                            sgd, state)
from torch.testing import assert_close

from ltcls.longtail import Clock
from ltcls.optim_wrappers import GNM, SAM

H = rows([2, 0.5, 0], [0.5, 1, -0.3], [0, -0.3, 3])
C = rows(0.1, -0.2, 0.3)
THETA = [1.0, -2.0, 0.5]
NOISE = rows([0.6, -1.7, 0.05], [-0.2, 0.9, -0.4])
OPTIMIZER = dict(lr=0.1, momentum=0.9, weight_decay=0.01)


def bowl(model, inputs, labels):
    theta = model.weight
    return (theta @ H @ theta / 2 + C @ theta)[None]


class Given(GNM):
    """GNM with given raw noise, one row a step."""

    steps = 0

    def draw(self, flat):
        flat.copy_(NOISE[self.steps % 2])
        self.steps += 1


def two_steps(method=Given, options=None, **settings):
    model = FunctionModel(bowl, weight=THETA)
    wrapper = method(sgd(model, **dict(OPTIMIZER, **(options or {}))), **settings)
    found = []
    for _ in range(2):
        wrapper.update_params(objective(model, rows([0])))
        found.append(model.weight.detach().clone())
    return found


@pytest.mark.parametrize(('rho', 'options', 'first', 'second'), [
    (0.5, {}, (0.854, -1.77725, 0.237), (0.6273085, -1.45886275, -0.0808545)),
    (0.005, {}, (0.88865, -1.8126425, 0.259275), (0.690423475, -1.4780581075, -0.11906355)),
    (0, {}, (0.889, -1.813, 0.2595), (0.691061, -1.478252, -0.1194495)),
    (0.5, dict(nesterov=True), (0.7226, -1.576775, 0.0003),
     (0.454422685, -1.2117942775, -0.220127745))], ids=['large', 'published', 'none', 'nesterov'])
def test_two_steps_on_a_bowl(rho, options, first, second):
    # Weight decay taken at the noisy point would give (0.8537, -1.77675, 0.236975) at radius 0.5.
    found = two_steps(rho=rho, options=options)
    assert_close(found[0], rows(*first), atol=1e-12, rtol=0)
    assert_close(found[1], rows(*second), atol=1e-12, rtol=0)


def test_sam_on_the_same_bowl():
    found = two_steps(SAM, rho=0.05)
    assert_close(found[0], rows(0.887022483242, -1.809866993058, 0.247472045131), atol=1e-12,
                 rtol=0)


def watched(method, **settings):
    """Weights at every evaluation of two steps, the losses there, the gradients of the steps."""
    points, losses, grads = [], [], []

    def looking(model, inputs, labels):
        points.append(model.weight.detach().clone())
        losses.append(bowl(model, inputs, labels).detach()[0])
        return bowl(model, inputs, labels)

    model = FunctionModel(looking, weight=THETA)
    wrapper = method(sgd(model, **OPTIMIZER), **settings)
    wrapper.optimizer.register_step_pre_hook(lambda *_: grads.append(model.weight.grad.clone()))
    for _ in range(2):
        wrapper.update_params(objective(model, rows([0])))
    return torch.stack(points), torch.stack(losses), torch.stack(grads)


def test_loss_and_gradient_are_those_at_the_noisy_point():
    points, losses, grads = watched(Given, rho=0.5)
    exact = dict(atol=1e-12, rtol=0)
    assert_close(points, rows([1.3, -2.5, 0.525], [0.754, -1.32725, 0.037]), **exact)
    assert_close(losses, rows(4.7846875, 1.31767500625), **exact)
    assert_close(grads, rows([1.45, -2.2075, 2.625], [0.944375, -1.16135, 0.809175]), **exact)


def test_offset_and_gradient_of_sam_on_the_same_bowl():
    points, _, grads = watched(SAM, rho=0.05)
    exact = dict(atol=1e-12, rtol=0)
    assert_close(points[0], rows(*THETA), **exact)
    assert_close(points[1] - points[0],
                 rows(0.017060928893, -0.028693380411, 0.037223844857), **exact)
    assert_close(grads[0], rows(1.119775167580, -1.881330069421, 2.520279548694), **exact)


def test_without_clamp_the_noise_is_used_as_drawn():
    [first, _] = two_steps(rho=0.5, clamp=None)
    eps = 0.5 * NOISE[0]
    theta = rows(*THETA)
    assert_close(first, theta - 0.1 * (H @ (theta + eps) + C + 0.01 * theta))


def test_a_total_norm_fixes_the_length_of_the_offset():
    [first, _] = two_steps(rho=0.5, total_norm=True)
    eps, theta = NOISE[0].clamp(-1, 1), rows(*THETA)
    eps = 0.5 * eps / eps.norm()
    assert_close(first, theta - 0.1 * (H @ (theta + eps) + C + 0.01 * theta))


@pytest.mark.parametrize(('epoch', 'code', 'ours'), [
    (0, 0.010, 0.005), (1, 0.005, 0.005), (59, 0.005, 0.005), (60, 0.0025, 0.0025),
    (69, 0.0025, 0.0025), (119, 0.00125, 0.0025)])
def test_the_radius_is_halved_once_where_reweighting_begins(epoch, code, ours):
    model = FunctionModel(bowl, weight=THETA)
    clock = Clock(epoch, 120, epoch / 120)
    assert GNM(sgd(model), halve_at=60).radius(clock) == ours
    assert GNM(sgd(model), halve_at=60, schedule='code').radius(clock) == code
    assert GNM(sgd(model)).radius(clock) == 0.005


def test_falling_schedules_follow_the_progress():
    model = FunctionModel(bowl, weight=THETA)
    radii = [[GNM(sgd(model), rho=4, schedule=name).radius(Clock(0, 1, progress))
              for progress in (0.0, 0.5, 0.75)] for name in ('cosine', 'linear')]
    assert_close(torch.tensor(radii), torch.tensor([[4, 2, 2 - 2 ** 0.5], [4, 2, 1]]))


@pytest.mark.parametrize('options', [{}, dict(total_norm=True)])
def test_without_spread_it_is_the_plain_step(options):
    found = two_steps(GNM, rho=0.5, sigma=0, **options)
    assert_close(found[1], rows(0.691061, -1.478252, -0.1194495), atol=1e-12, rtol=0)


def test_noise_that_is_zero_throughout_moves_nothing():
    class Still(GNM):
        def draw(self, flat):
            flat.zero_()

    found = two_steps(Still, rho=0.5, total_norm=True)
    assert_close(found[1], rows(0.691061, -1.478252, -0.1194495), atol=1e-12, rtol=0)


@pytest.mark.parametrize('halve_at', [0, 1])
def test_the_radius_may_be_half_from_the_first_or_second_epoch_on(halve_at):
    model = FunctionModel(bowl, weight=THETA)
    wrapper = GNM(sgd(model), rho=4, halve_at=halve_at)
    radii = [wrapper.radius(Clock(epoch, 3, epoch / 3)) for epoch in range(3)]
    assert radii == [2 if epoch >= halve_at else 4 for epoch in range(3)]
    with pytest.raises(ValueError, match=f"'code' with halve_at={halve_at}.*at least 2"):
        GNM(sgd(model), halve_at=halve_at, schedule='code')


def test_settings_that_cannot_be_are_refused():
    model = FunctionModel(bowl, weight=THETA)
    with pytest.raises(ValueError, match="schedule='halve' with halve_at=None"):
        GNM(sgd(model), schedule='halve')
    with pytest.raises(ValueError, match='halve_at=-1.*at least 0'):
        GNM(sgd(model), halve_at=-1)
    with pytest.raises(ValueError, match="schedule='step'"):
        GNM(sgd(model), schedule='step')
    with pytest.raises(ValueError, match='clamp=0'):
        GNM(sgd(model), clamp=0)


def test_the_noise_is_a_clamped_normal_for_every_scalar():
    torch.manual_seed(0)
    model = FunctionModel(bowl, weight=[0.0] * 500_000, bias=[0.0] * 500_000)
    wrapper = GNM(sgd(model))
    wrapper.choose(model)
    drawn = torch.cat(wrapper.noise(wrapper._draw))
    assert_close(drawn.std(), rows(0.33250017)[0], atol=0, rtol=3e-3)
    assert_close(drawn.abs().mean(), rows(0.26570675)[0], atol=0, rtol=3e-3)
    assert_close((drawn.abs() == 1).double().mean(), rows(0.0026998)[0], atol=0, rtol=0.1)
    correlation = (drawn[:500_000] * drawn[500_000:]).mean()
    assert correlation.abs() < 1e-3


def test_the_mean_loss_in_the_neighbourhood_grows_by_the_trace_of_the_hessian():
    torch.manual_seed(0)
    model = FunctionModel(quadratic, weight=[0.0] * 3_000_000)
    wrapper = GNM(sgd(model))
    wrapper.choose(model)
    noise, = wrapper.noise(wrapper._draw)
    points = rows(*THETA) + 0.5 * noise.view(-1, 3)
    losses = ((points @ H) * points).sum(dim=1) / 2 + points @ C
    assert_close(losses.mean(), rows(3.4079172723)[0], atol=2e-3, rtol=0)


def test_a_step_is_that_of_a_loop_over_parameters():
    # The noise of the loop: the same flat draw, cut by hand.
    model = classifier()
    reference = classifier()
    torch.manual_seed(7)
    logs = model.train_step(batch(), GNM(sgd(model, lr=0.5), rho=0.3))
    torch.manual_seed(7)
    parameters = list(reference.parameters())
    flat = torch.empty(sum(p.numel() for p in parameters)).normal_(0, 1 / 3)
    before, begin = [p.detach().clone() for p in parameters], 0
    with torch.no_grad():
        for p in parameters:
            p.add_(0.3 * flat[begin:begin + p.numel()].clamp(-1, 1).view_as(p))
            begin += p.numel()
    data = reference.data_preprocessor(batch(), True)
    loss = reference(**data, mode='loss')['loss'].mean()
    loss.backward()
    with torch.no_grad():
        for p, old in zip(parameters, before):
            p.copy_(old if p.grad is None else old - 0.5 * p.grad)
    assert_close(logs['loss'], loss.detach())
    assert_close(state(model), state(reference), atol=1e-6, rtol=1e-5)


def hidden_layer(model, inputs, labels):
    logits = torch.tanh(inputs @ model.first + model.shift) @ model.second + model.bias
    return F.cross_entropy(logits, labels, reduction='none')


def test_three_steps_in_float64_are_those_of_a_loop_over_parameters():
    torch.manual_seed(0)
    shapes = dict(first=(3, 4), shift=(4,), second=(4, 3), bias=(3,))
    parameters = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    inputs, labels = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 0, 2])
    model = FunctionModel(hidden_layer, **{name: p.tolist() for name, p in parameters.items()})
    wrapper = GNM(sgd(model, lr=0.5, momentum=0.9, weight_decay=0.01), rho=0.3)
    torch.manual_seed(7)
    for _ in range(3):
        wrapper.update_params(objective(model, inputs, labels))

    torch.manual_seed(7)
    momentum = dict.fromkeys(parameters, 0.0)
    for _ in range(3):
        flat = torch.empty(sum(p.numel() for p in parameters.values()), dtype=torch.float64)
        flat.normal_(0, 1 / 3)
        noisy, begin = {}, 0
        for name, p in parameters.items():
            noise = flat[begin:begin + p.numel()].clamp(-1, 1).view_as(p)
            noisy[name], begin = p + 0.3 * noise, begin + p.numel()
        leaves = FunctionModel(hidden_layer, **{name: p.tolist() for name, p in noisy.items()})
        hidden_layer(leaves, inputs, labels).mean().backward()
        for name, p in parameters.items():
            momentum[name] = 0.9 * momentum[name] + getattr(leaves, name).grad + 0.01 * p
            parameters[name] = p - 0.5 * momentum[name]
    for name, p in parameters.items():
        assert_close(getattr(model, name).detach(), p, rtol=1e-12, atol=1e-12)


def test_one_forward_and_one_backward_a_step():
    model = classifier()
    calls = []
    model.backbone.conv.register_forward_hook(lambda *_: calls.append('forward'))
    model.backbone.conv.weight.register_hook(lambda *_: calls.append('backward'))
    model.train_step(batch(), GNM(sgd(model)))
    assert calls == ['forward', 'backward']


@pytest.mark.parametrize('same_in_window', [False, True])
def test_micro_batches_share_a_draw_on_request(same_in_window):
    torch.manual_seed(0)
    model = classifier()
    seen = []
    model.backbone.register_forward_hook(
        lambda *_: seen.append(model.head.weight.detach() - clean))
    wrapper = GNM(sgd(model), accumulative_counts=2, same_in_window=same_in_window)
    for number in range(4):
        clean = model.head.weight.detach().clone()
        model.train_step(batch(seed=number), wrapper)
    assert torch.equal(seen[0], seen[1]) is torch.equal(seen[2], seen[3]) is same_in_window
    assert not torch.equal(seen[1], seen[2])


def test_the_radius_follows_the_clock_of_the_model():
    model = classifier()
    seen = []
    model.backbone.register_forward_hook(
        lambda *_: seen.append(float(F.mse_loss(model.head.weight.detach(), clean)) ** 0.5))
    wrapper = GNM(sgd(model, lr=0), halve_at=10)
    for epoch in (0, 9, 10, 30):
        model.set_clock(Clock(epoch, 40, epoch / 40))
        clean = model.head.weight.detach().clone()
        torch.manual_seed(0)
        model.train_step(batch(), wrapper)
    assert seen[1] == seen[0]
    assert seen[2:] == pytest.approx([seen[0] / 2] * 2, rel=1e-3)


def test_a_radius_of_zero_draws_nothing():
    model = classifier()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model.train_step(batch(), GNM(sgd(model), rho=0))
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(state(model), state(classifier()))
