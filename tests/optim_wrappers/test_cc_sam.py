"""CC-SAM stage 1: worked values, the closed form against a loop over classes, the other paths."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from perturbed_toys import batch, classifier, same, sgd, state
from torch import nn
from torch.testing import assert_close

from ltcls.models import BatchPreprocessor, Classifier, MixedLabels
from ltcls.models.heads import LinearHead, LogitAdjustedHead, LWSHead
from ltcls.optim_wrappers import CCSAM, Objective
from ltcls.optim_wrappers.cc_sam import SMALLEST_NORM, is_linear, last_block
from ltcls.optim_wrappers.norm_statistics import BatchStatistics
from ltcls.registry import LOSSES, MODELS

COUNTS = [100, 20, 5]
LABELS = torch.tensor([0, 1, 0, 2, 1])
SECOND = torch.tensor([1, 1, 2, 0, 2])


def rows(values):
    return torch.tensor(values, dtype=torch.float64)


W = rows([[0.5, -0.3, 0.2], [0.1, 0.4, -0.6], [-0.2, 0.3, 0.7]])
BIAS = rows([0.05, -0.10, 0.00])
FEATURES = rows([[1.0, 0.5, -0.2], [0.3, -1.0, 0.8], [0.9, 0.2, 0.4], [-0.5, 0.6, 1.1],
                 [0.2, -0.7, 0.5]])


class FeatureTable(nn.Module):
    """The features themselves are the parameters; the input says which rows."""

    def __init__(self, features):
        super().__init__()
        self.num_features = features.size(1)
        self.table = nn.Parameter(features.clone())

    def forward(self, inputs):
        return self.table[inputs]


class ExactClassifier(Classifier):
    """A classifier in float64 throughout."""

    def extract(self, inputs):
        return self.backbone(inputs)

    def logits(self, features, head=None):
        return torch.func.functional_call(self.head, head or {}, (features,))


def exact(features=FEATURES, weight=W, bias=BIAS, counts=COUNTS, head='LinearHead', **options):
    model = ExactClassifier(
        backbone=dict(type=FeatureTable, features=features),
        head=dict(type=head) if isinstance(head, str) else head,
        loss=dict(type='CrossEntropyLoss'), **options, data_preprocessor=BatchPreprocessor(
            num_classes=len(counts), mean=[0.5], std=[0.25]))
    model.bind(counts)
    model.double()
    with torch.no_grad():
        model.head.weight.copy_(weight)
        if bias is not None:
            model.head.bias.copy_(bias)
    return model.train()


def run(model, labels=LABELS, weights=None, loop=False, lr=1.0, method=CCSAM, **options):
    """Gradients by parameter of one step; with `loop` the head is not known to be linear."""
    wrapper = method(sgd(model, lr=lr), **options)
    first = labels if isinstance(labels, torch.Tensor) else labels.first
    given = dict(inputs=torch.arange(len(first)), labels=labels)
    if weights is not None:
        given['weights'] = weights
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    if loop:
        model.head.__class__ = type('Opaque', (type(model.head),), {})
    wrapper.update_params(Objective(model, given))
    return {name: (before[name] - p.detach()) / lr for name, p in model.named_parameters()}


def flat_losses(labels=LABELS, model=None, **options):
    """The perturbed losses [B] that a step averages."""
    found = []

    class Watched(CCSAM):
        def _reduce(self, losses, labels):
            found.append(losses.detach())
            return super()._reduce(losses, labels)

    run(model or exact(), labels, method=Watched, **options)
    return found[0]


def total(labels=LABELS, **options):
    """The loss whose gradient a step takes."""
    model = exact()
    wrapper = CCSAM(sgd(model), **options)
    found = Objective(model, dict(inputs=torch.arange(5), labels=labels))
    wrapper.choose(model)
    return float(wrapper.closed_form_loss(found, found.features()).detach())


def near(found, expected):
    assert_close(found, rows(expected), atol=1e-8, rtol=0)


# -- worked values --------------------------------------------------------------------------------


def test_global_norms_small_radius():
    options = dict(radius=0.05, mix=0.5)
    near(flat_losses(**options), [0.957031310, 2.265566957, 0.809455416, 0.447727252, 1.863323075])
    assert total(**options) == pytest.approx(1.250536402, abs=1e-9)
    grads = run(exact(), **options)
    near(grads['head.weight'], [[-0.189323856, -0.237255991, 0.163801984],
                                [0.016781029, 0.360441336, -0.193785568],
                                [0.172542827, -0.123185345, 0.029983584]])
    near(grads['head.bias'], [0.018574093, -0.197186897, 0.178612805])
    near(grads['backbone.table'], [[-0.061452521, 0.081394546, -0.038094959],
                                   [0.023706982, -0.085466415, 0.178817591],
                                   [-0.062160493, 0.071005747, -0.004735674],
                                   [0.036655785, -0.021321782, -0.054781542],
                                   [0.019488853, -0.078076829, 0.170496012]])


def test_global_norms_full_radius():
    near(flat_losses(mix=0.5), [1.520376869, 3.273384225, 1.282409003, 2.043296521, 2.634613274])
    assert total(mix=0.5) == pytest.approx(1.691633990, abs=1e-9)


def test_norms_of_each_tensor():
    options = dict(grad_norm='tensor', mix=0.5)
    near(flat_losses(**options), [1.994329221, 4.015969680, 1.691151482, 3.684888789, 3.235036595])
    assert total(**options) == pytest.approx(2.078363577, abs=1e-9)
    grads = run(exact(), **options)
    near(grads['head.weight'], [[-0.256619444, -0.244221549, 0.226759851],
                                [0.033146362, 0.395235018, -0.191610211],
                                [0.223473082, -0.151013469, -0.035149640]])
    near(grads['head.bias'], [0.039099772, -0.176519104, 0.137419332])
    near(grads['backbone.table'], [[-0.020635517, 0.118052081, -0.043186056],
                                   [0.046194359, -0.152192061, 0.230024176],
                                   [-0.027133974, 0.106454899, -0.002413413],
                                   [0.012294710, 0.025344759, 0.042065603],
                                   [0.041048322, -0.143967214, 0.224173024]])
    near(flat_losses(radius=0.05, **options),
         [0.974807816, 2.299620306, 0.824239641, 0.479862970, 1.890065666])
    assert total(radius=0.05, **options) == pytest.approx(1.263085641, abs=1e-9)


@pytest.mark.parametrize('loop', [False, True], ids=['closed', 'loop'])
@pytest.mark.parametrize(('reduction', 'expected'), [
    ('mean', 1.268620802), ('class_mean', 1.131805210), ('class_sum', 3.395415631)])
def test_reductions_of_the_perturbed_losses(reduction, expected, loop):
    if not loop:
        assert total(radius=0.05, reduction=reduction) == pytest.approx(expected, abs=1e-9)
    plain = run(exact(), radius=0.05, reduction=reduction)
    assert_close(run(exact(), radius=0.05, reduction=reduction, loop=loop), plain, atol=1e-12,
                 rtol=0)


@pytest.mark.parametrize(('flat_target', 'expected'), [('mixed', 1.292198180),
                                                       ('first', 1.278487249)])
def test_mixup(flat_target, expected):
    labels = MixedLabels(LABELS, SECOND, torch.tensor(0.7, dtype=torch.float64))
    found = total(labels, radius=0.05, mix=0.3, flat_target=flat_target)
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_recommended_direction_with_norm_one():
    near(flat_losses(variant='dir'),
         [2.352345801, 4.156844336, 2.002674689, 1.603263986, 3.323437509])


class GivenDirections(CCSAM):
    """CC-SAM whose random directions are given, one a class."""

    weights = rows([[[1, 0, 0], [0, 0, 0], [0, 0, -1]], [[0, 1, 0], [0, -1, 0], [0, 0, 0]],
                    [[0, 0, 1], [1, 0, 0], [0, 0, 0]]])
    biases = rows([[0, 1, 0], [0, 0, 1], [-1, 0, 0]])

    def draw_directions(self, labels, omega):
        return [self.weights[labels] / 3 ** 0.5, self.biases[labels] / 3 ** 0.5]


@pytest.mark.parametrize('loop', [False, True], ids=['closed', 'loop'])
def test_the_recommended_norm_in_a_random_direction(loop):
    if not loop:
        found = []

        class Watched(GivenDirections):
            def _reduce(self, losses, labels):
                found.append(losses.detach())
                return super()._reduce(losses, labels)

        run(exact(), method=Watched, variant='mag')
        near(found[0], [0.886516918, 1.915060196, 0.697160350, 0.377361994, 1.669306610])
    expected = run(exact(), method=GivenDirections, variant='mag')
    found = run(exact(), method=GivenDirections, variant='mag', loop=loop)
    assert_close(found, expected, atol=1e-12, rtol=0)


def test_random_directions_have_norm_one_over_all_tensors():
    wrapper = CCSAM(sgd(exact()), variant='mag')
    weight, bias = wrapper.draw_directions(torch.tensor([0, 2]), [W, BIAS])
    assert weight.shape == (2, 3, 3) and bias.shape == (2, 3)
    norms = weight.square().sum(dim=(1, 2)) + bias.square().sum(dim=1)
    assert_close(norms, torch.ones_like(norms))


# -- the closed form against a slow loop ----------------------------------------------------------


def slow_loop(model, labels, mixed=None, weights=None, radius=1.0, mix=1.0, grad_norm='global',
              param_norm='global', reduction='mean', flat_target='mixed', variant='full',
              max_relative_radius=None, gamma=0, floor=0.0):
    """Gradients of one step, written out class by class with explicit perturbed tensors."""
    table, w, b = (p.detach().clone().requires_grad_() for p in (
        model.backbone.table, model.head.weight, model.head.bias))
    counts = model.class_counts
    ones = torch.ones(len(labels), dtype=torch.float64) if weights is None else weights

    def losses(logits, index, hard=False):
        value = F.cross_entropy(logits, labels[index], reduction='none')
        value = (1 - torch.exp(-value)) ** gamma * value
        if mixed is not None and not hard:
            second = F.cross_entropy(logits, mixed.second[index], reduction='none')
            value = mixed.share * value + (1 - mixed.share) * second
        return value * ones[index]

    everything = torch.arange(len(labels))
    result = (1 - mix) * losses(table @ w.T + b, everything).mean()
    size, number = (w.square().sum() + b.square().sum()).sqrt().item(), w.numel() + b.numel()
    sizes = (w.norm().item(), b.norm().item())
    present = sorted(set(labels.tolist()))
    for label in present:
        index = torch.tensor([i for i, y in enumerate(labels.tolist()) if y == label])
        inner = losses(table[index] @ w.T + b, index).mean()
        grads = torch.autograd.grad(inner, (w, b))
        whole = sum(float((g ** 2).sum()) for g in grads) ** 0.5
        offsets = []
        for grad, own in zip(grads, sizes):
            norm = float(grad.norm()) if grad_norm == 'tensor' else whole
            length = own if param_norm == 'tensor' else size
            n = max(float(counts[label]) - 1, 1)
            rho = (length / (2 * norm)) ** 0.5 * number ** -0.25 * n ** -0.25
            scale = 1 / norm if variant == 'dir' else radius * number ** 0.5 * rho / norm
            scale = 0 if norm <= floor else scale
            offsets.append(scale * grad)
        reach = sum(float((e ** 2).sum()) for e in offsets) ** 0.5
        if max_relative_radius is not None and reach > max_relative_radius * size:
            offsets = [e * max_relative_radius * size / reach for e in offsets]
        logits = table[index] @ (w + offsets[0]).T + b + offsets[1]
        flat = losses(logits, index, hard=flat_target == 'first')
        share = dict(mean=len(index) / len(labels), class_mean=1 / len(present), class_sum=1)
        result = result + mix * share[reduction] * flat.mean()
    result.backward()
    return {'backbone.table': table.grad, 'head.weight': w.grad, 'head.bias': b.grad}


def random_problem(classes, dim, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator,     # noqa: E731
                                      dtype=torch.float64)
    weight, bias, features = draw(classes, dim) / dim ** 0.5, 0.1 * draw(classes), draw(size, dim)
    counts = [max(int(500 * 0.01 ** (c / (classes - 1))), 1) for c in range(classes)]
    shares = torch.tensor(counts, dtype=torch.float64)
    labels = torch.multinomial(shares, size, replacement=True, generator=generator)
    model = exact(features, weight, bias, counts)
    mixed = MixedLabels(labels, labels.flip(0), torch.tensor(0.6, dtype=torch.float64))
    weights = torch.rand(size, generator=generator, dtype=torch.float64) + 0.5
    return model, labels, mixed, weights


def worst(found, expected):
    return max(float((found[name] - expected[name]).norm() / expected[name].norm())
               for name in expected)


@pytest.mark.parametrize(('classes', 'dim', 'size'), [(10, 64, 64), (100, 64, 64), (1000, 64, 96)])
@pytest.mark.parametrize('options', [
    dict(), dict(radius=0.05, mix=0.5), dict(grad_norm='tensor', mix=0.3),
    dict(param_norm='tensor'), dict(grad_norm='tensor', param_norm='tensor'),
    dict(max_relative_radius=0.1), dict(variant='dir', reduction='class_mean')],
    ids=lambda options: '-'.join(map(str, options.values())) or 'paper')
def test_the_closed_form_is_the_loop_over_classes(classes, dim, size, options):
    model, labels, _, weights = random_problem(classes, dim, size)
    expected = slow_loop(model, labels, weights=weights, **options)
    assert worst(run(model, labels, weights=weights, **options), expected) < 1e-10


@pytest.mark.parametrize('flat_target', ['mixed', 'first'])
@pytest.mark.parametrize('reduction', ['mean', 'class_mean', 'class_sum'])
def test_the_closed_form_under_mixup_is_the_loop(flat_target, reduction):
    model, labels, mixed, _ = random_problem(10, 8, 32)
    options = dict(flat_target=flat_target, reduction=reduction, mix=0.4, radius=0.3)
    expected = slow_loop(model, labels, mixed=mixed, **options)
    assert worst(run(model, mixed, **options), expected) < 1e-10


@pytest.mark.parametrize('options', [
    dict(radius=0.3, mix=0.4), dict(grad_norm='tensor'), dict(max_relative_radius=0.1),
    dict(param_norm='tensor', reduction='class_mean')])
def test_the_own_loop_for_other_heads_is_the_loop(options):
    model, labels, _, weights = random_problem(10, 8, 32)
    expected = slow_loop(model, labels, weights=weights, **options)
    assert worst(run(model, labels, weights=weights, loop=True, **options), expected) < 1e-10


@pytest.mark.parametrize('loop', [False, True])
@pytest.mark.parametrize(('gamma', 'size'), [(1.0, 1), (2.0, 5), (5.0, 5)])
def test_focal_loss_takes_both_paths_as_the_loop(loop, gamma, size):
    # With weights of this size some classes have gradients of norm 1e-28: fitted, not perturbed.
    model, labels, _, _ = random_problem(10, 8, 16, seed=1)
    model.loss = LOSSES.build(dict(type='FocalLoss', gamma=gamma))
    with torch.no_grad():
        model.head.weight.mul_(size)
    expected = slow_loop(model, labels, gamma=gamma, floor=1e-12)
    assert worst(run(model, labels, loop=loop), expected) < 1e-10


def test_class_weights_of_the_batch_enter_both_paths_alike():
    grads = []
    for loop in (False, True):
        model, labels, _, _ = random_problem(10, 8, 32)
        model.set_class_weights(torch.linspace(0.2, 3, 10))
        grads.append(run(model, labels, loop=loop, mix=0.5))
    assert worst(*grads) < 1e-6      # class weights are kept in float32


@pytest.mark.parametrize('size', [64, 256])
def test_float32_is_close_to_float64_for_many_classes(size):
    model, labels, _, _ = random_problem(1000, 64, size)
    expected = run(model, labels)
    model, labels, _, _ = random_problem(1000, 64, size)
    # A large rate, so that the step is not lost in the rounding of the weights.
    assert worst(run(model.float(), labels, lr=1e5), expected) < 2e-6


# -- limits and guards ----------------------------------------------------------------------------


def test_the_radius_of_a_class_follows_the_fourth_root_of_its_size():
    model = exact(counts=[82, 17, 2])       # n - 1 = 81, 16, 1
    wrapper = CCSAM(sgd(model))
    scales = wrapper._scales(model.class_counts, torch.ones(1, 3, dtype=torch.float64), [W])[0]
    assert_close(scales[2] / scales, rows([3, 2, 1]))
    # k^(1/4) (|w| / 2)^(1/2) for a class of two images and a gradient of norm 1
    assert_close(scales[2], 9 ** 0.25 * (W.norm() / 2) ** 0.5)


def test_a_class_with_one_image_has_the_radius_of_two():
    grads = [run(exact(counts=[100, 20, n])) for n in (0, 1, 2)]      # nor does a count of 0 matter
    assert_close(grads[0], grads[2], atol=0, rtol=0)
    assert_close(grads[1], grads[2], atol=0, rtol=0)
    assert all(torch.isfinite(g).all() for g in grads[0].values())


@pytest.mark.parametrize('loop', [False, True], ids=['closed', 'loop'])
@pytest.mark.parametrize('grad_norm', ['global', 'tensor'])
def test_a_class_without_gradient_is_not_perturbed(loop, grad_norm):
    # Class 2 is fitted beyond the reach of float64: its gradient is exactly zero.
    features = FEATURES.clone()
    features[3] *= 1e4
    found = run(exact(features), loop=loop, grad_norm=grad_norm)
    assert all(torch.isfinite(g).all() for g in found.values())
    weights = torch.ones(5, dtype=torch.float64)
    weights[3] = 0
    assert_close(run(exact(features), loop=loop, grad_norm=grad_norm, weights=weights), found,
                 atol=1e-12, rtol=0)


def test_a_class_whose_gradient_is_nearly_zero_is_not_perturbed():
    norms = rows([[SMALLEST_NORM / 10, 1.0]])
    scales = CCSAM(sgd(exact()))._scales(rows([5.0, 5.0]), norms, [rows([1.0, 2.0])])
    assert scales[0, 0] == 0 and scales[0, 1] > 0


def test_the_cap_bounds_every_class():
    model, labels, _, _ = random_problem(10, 8, 32)
    wrapper = CCSAM(sgd(model), radius=100, max_relative_radius=0.5)
    norms = torch.rand(2, 10, dtype=torch.float64)
    omega = [model.head.weight, model.head.bias]
    scales = wrapper._scales(model.class_counts, norms, omega)
    size = (omega[0].square().sum() + omega[1].square().sum()).sqrt()
    assert_close((scales * norms).square().sum(dim=0).sqrt(), (0.5 * size).expand(10))


def test_frozen_head_parameters_are_left_out():
    model = exact()
    model.head.bias.requires_grad_(False)
    omega = []

    class Watched(CCSAM):
        def _scales(self, counts, norms, weights):
            omega.extend(weights)
            return super()._scales(counts, norms, weights)

    before = state(model)
    run(model, method=Watched)
    assert len(omega) == 1 and omega[0] is model.head.weight
    assert torch.equal(model.head.bias, before['head.bias'])
    frozen = exact()
    frozen.head.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing of perturb='head' is left .* what the model freezes"):
        run(frozen)


@pytest.mark.parametrize('head', ['LinearHead', 'CosineHead'])
def test_a_head_that_is_frozen_after_the_first_step_trains_as_in_the_plain_step(head):
    model, plain = classifier(head=head), classifier(head=head)
    wrapper = CCSAM(sgd(model), radius=0.3)
    model.train_step(batch(), wrapper)
    plain.load_state_dict(model.state_dict())
    for one in (model, plain):
        one.head.requires_grad_(False)
    model.train_step(batch(), wrapper)
    plain.train_step(batch(), CCSAM(sgd(plain), mix=0, perturb='all'))
    assert_close(state(model), state(plain))


def test_a_head_is_linear_only_if_its_own_class_says_so():
    build = lambda cls: cls(num_features=3, num_classes=4)     # noqa: E731
    assert is_linear(build(LinearHead)) and is_linear(build(LogitAdjustedHead))
    assert is_linear(nn.Linear(3, 4))
    assert not is_linear(build(LWSHead))
    assert not is_linear(MODELS.build(dict(type='CosineHead', num_features=3, num_classes=4)))
    assert not is_linear(build(type('Own', (LinearHead,), {})))


def test_a_spectrally_normalised_head_is_perturbed_in_its_own_parameters():
    # The parametrised weight is no parameter any more; its original is.
    grads = []
    for loop in (False, True):
        model = exact()
        torch.manual_seed(0)      # the start of the power iteration
        nn.utils.parametrizations.spectral_norm(model.head).eval()
        assert not is_linear(model.head)
        grads.append(run(model, loop=loop))
    assert_close(*grads)
    assert grads[0]['head.parametrizations.weight.original'].abs().max() > 0


# -- heads with normalised rows, and more than the head -------------------------------------------


def test_a_cosine_head_takes_the_loop():
    head = dict(type='CosineHead', scale=4.0)
    found = run(exact(bias=None, head=head), radius=0.3, mix=0.6)
    table, w = FEATURES.clone().requires_grad_(), W.clone().requires_grad_()
    logits = lambda f, w: 4 * F.normalize(f) @ F.normalize(w).T     # noqa: E731
    loss = 0.4 * F.cross_entropy(logits(table, w), LABELS)
    for label in range(3):
        index = (LABELS == label).nonzero()[:, 0]
        inner = F.cross_entropy(logits(table[index], w), LABELS[index])
        [grad] = torch.autograd.grad(inner, w)
        rho = ((W.norm() / (2 * grad.norm())) ** 0.5 * 9 ** -0.25
               * (COUNTS[label] - 1) ** -0.25)
        eps = 0.3 * 3 * rho * grad / grad.norm()
        flat = F.cross_entropy(logits(table[index], w + eps), LABELS[index])
        loss = loss + 0.6 * len(index) / 5 * flat
    loss.backward()
    assert_close(found['head.weight'], w.grad, atol=1e-12, rtol=0)
    assert_close(found['backbone.table'], table.grad, atol=1e-12, rtol=0)


class NormedBackbone(nn.Module):
    """Linear, batch norm, tanh, linear, in float64."""

    num_features = 3

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.bn = nn.BatchNorm1d(5)
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.bn(self.first(x))))


def normed():
    torch.manual_seed(0)
    model = ExactClassifier(
        backbone=dict(type=NormedBackbone), head=dict(type='LinearHead'),
        loss=dict(type='CrossEntropyLoss'),
        data_preprocessor=BatchPreprocessor(num_classes=3, mean=[0.5], std=[0.25]))
    model.bind(COUNTS)
    return model.double().train(), torch.randn(7, 4, dtype=torch.float64)


NORMED_LABELS = torch.tensor([0, 0, 1, 0, 2, 1, 0])


def passes(optimizer, **options):
    """CCSAM that evaluates the classes also where it could take the plain step."""
    wrapper = CCSAM(optimizer, **options)
    wrapper.plain = False
    return wrapper


def whole_model(perturb, radius=0.3, mix=0.6, **options):
    model, inputs = normed()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    passes(sgd(model, lr=1), perturb=perturb, radius=radius, mix=mix, **options).update_params(
        Objective(model, dict(inputs=inputs, labels=NORMED_LABELS)))
    return {name: before[name] - p.detach() for name, p in model.named_parameters()}, model


@pytest.mark.parametrize(('head', 'perturb'), [('CosineHead', 'head'), ('LinearHead', 'all')])
def test_classes_are_synchronised_in_the_closed_form_alone(head, perturb):
    with pytest.raises(ValueError, match="sync_classes=True needs perturb='head' and a linear head"):
        model = classifier(head=head)
        model.train_step(batch(), CCSAM(sgd(model), perturb=perturb, sync_classes=True))


@pytest.mark.parametrize(('options', 'message'), [
    (dict(perturb='last_blocks', last_blocks=['layer9']),
     "last_blocks names 'layer9', which no parameter of the backbone has; its last module is 'last'"),
    (dict(perturb='head', include=['^backbone']), "nothing of perturb='head' is left"),
    (dict(perturb='last_blocks', last_blocks=['las']), "last_blocks names 'las', which no"),
    (dict(perturb='last_blocks', exclude=['last', 'head']), "nothing of perturb='last_blocks'")])
def test_a_choice_that_perturbs_nothing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        whole_model(**options)


@pytest.mark.parametrize(('perturb', 'options', 'perturbed'), [
    ('all', {}, ''), ('last_blocks', {}, 'backbone.last|head'),
    ('last_blocks', dict(last_blocks=['bn', 'last']), 'backbone.bn|backbone.last|head')])
def test_more_than_the_head_is_the_loop_with_the_statistics_of_the_clean_pass(
        perturb, options, perturbed):
    # Written out in plain tensors: mean and variance of the clean pass, also as its functions.
    model, inputs = normed()
    p = {name: value.detach().clone().requires_grad_()
         for name, value in model.named_parameters()}
    omega = [name for name in p if name.startswith(tuple(perturbed.split('|')))]

    def forward(q, x, mean, var):
        hidden = x @ q['backbone.first.weight'].T + q['backbone.first.bias']
        hidden = (hidden - mean) / (var + 1e-5).sqrt()
        hidden = torch.tanh(hidden * q['backbone.bn.weight'] + q['backbone.bn.bias'])
        hidden = hidden @ q['backbone.last.weight'].T + q['backbone.last.bias']
        return hidden @ q['head.weight'].T + q['head.bias']

    hidden = inputs @ p['backbone.first.weight'].T + p['backbone.first.bias']
    mean, var = hidden.mean(dim=0), hidden.var(dim=0, correction=0)
    loss = 0.4 * F.cross_entropy(forward(p, inputs, mean, var), NORMED_LABELS)
    size = sum(float(p[name].detach().square().sum()) for name in omega) ** 0.5
    number = sum(p[name].numel() for name in omega)
    for label in range(3):
        index = (NORMED_LABELS == label).nonzero()[:, 0]
        inner = F.cross_entropy(forward(p, inputs[index], mean.detach(), var.detach()),
                                NORMED_LABELS[index])
        grads = torch.autograd.grad(inner, [p[name] for name in omega])
        norm = sum(float(g.square().sum()) for g in grads) ** 0.5
        reach = (0.3 * number ** 0.25 * (COUNTS[label] - 1) ** -0.25 * (size / (2 * norm)) ** 0.5)
        q = dict(p)
        q.update({name: p[name] + reach * g / norm for name, g in zip(omega, grads)})
        flat = F.cross_entropy(forward(q, inputs[index], mean, var), NORMED_LABELS[index])
        loss = loss + 0.6 * len(index) / 7 * flat
    loss.backward()
    found, _ = whole_model(perturb, **options)
    for name, gradient in found.items():
        assert_close(gradient, p[name].grad, atol=1e-10, rtol=0, msg=name)


@pytest.mark.parametrize('perturb', ['all', 'last_blocks'])
@pytest.mark.parametrize('mix', [1.0, 0.3])
def test_without_radius_the_loop_over_the_model_is_the_plain_step(perturb, mix):
    # Cutting the batch into classes changes nothing: not the features, not the gradient of the
    # batch statistics, not the running statistics.
    found, model = whole_model(perturb, radius=0.0, mix=mix)
    plain, inputs = normed()
    F.cross_entropy(plain(inputs), NORMED_LABELS).backward()
    for name, parameter in plain.named_parameters():
        assert_close(found[name], parameter.grad, atol=1e-12, rtol=0)
    assert same(dict(model.named_buffers()), dict(plain.named_buffers()))


def test_the_loop_over_the_model_works_with_images_mixup_and_low_precision():
    model = classifier(precision='bfloat16', mixing=dict(type='Mixup'))
    plain = classifier(precision='bfloat16', mixing=dict(type='Mixup'))
    torch.manual_seed(0)
    model.train_step(batch(), passes(sgd(model), perturb='all', radius=0.0))
    torch.manual_seed(0)
    plain.train_step(batch(), OptimWrapper(sgd(plain)))
    assert_close(state(model), state(plain), atol=2e-3, rtol=2e-2)


def test_the_last_block_is_the_last_module_with_weight_matrices():
    assert last_block(MODELS.build(dict(type='CIFARResNet', depth=20))) == 'layer3'
    inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU())
    assert last_block(nn.Sequential(inner)) == '0.1'
    assert last_block(nn.Sequential(nn.Linear(2, 2))) == '0'
    assert last_block(nn.Sequential(inner, nn.LayerNorm(2))) == '0.1'
    assert last_block(nn.Sequential(nn.Linear(2, 2), inner, nn.LayerNorm(2))) == '1'


def test_a_norm_that_runs_twice_in_a_pass_is_refused():
    model = nn.BatchNorm1d(3)
    statistics = BatchStatistics(model)
    with pytest.raises(RuntimeError, match='runs twice'), statistics.record():
        model(model(torch.randn(4, 3)))


def test_given_statistics_leave_the_layer_as_it_was_also_when_the_pass_raises():
    model = nn.BatchNorm1d(3)
    statistics = BatchStatistics(model)
    with statistics.record():
        expected = model(torch.randn(4, 3))
    before = state(model)
    with pytest.raises(ZeroDivisionError), statistics.used():
        model(torch.randn(1, 3))
        1 / 0
    assert 'forward' not in vars(model) and same(state(model), before)
    assert expected.shape == (4, 3)


@pytest.mark.parametrize('name', ['regnetx_002', 'mobilenetv3_small_050'])
def test_activations_inside_batch_norms_are_kept_in_the_passes_of_the_classes(name):
    pytest.importorskip('timm')
    options = dict(backbone=dict(type='TimmBackbone', name=name))
    plain, perturbed = classifier(**options), classifier(**options)
    for model in (plain, perturbed):      # dropout would differ from pass to pass
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    images = dict(inputs=torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8),
                  labels=batch()['labels'])
    plain.train_step(images, OptimWrapper(sgd(plain, lr=1.0)))
    perturbed.train_step(images, passes(sgd(perturbed, lr=1.0), perturb='all', radius=0.0))
    before = state(classifier(**options))
    moved = [torch.cat([(state(model)[key] - before[key]).flatten() for key, _ in
                        plain.named_parameters()]) for model in (plain, perturbed)]
    assert torch.cosine_similarity(*moved, dim=0) > 0.999
    assert_close(moved[1].norm(), moved[0].norm(), rtol=1e-2, atol=0)


def test_a_batch_norm_with_a_forward_of_its_own_is_refused():
    class Scaled(torch.nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = classifier()
    model.backbone.bn = Scaled(model.backbone.bn.num_features)
    with pytest.raises(ValueError, match="Scaled is a batch norm with a forward of its own"):
        model.train_step(batch(), CCSAM(sgd(model), perturb='all'))


@pytest.mark.parametrize('change', ['weights', 'labels'])
@pytest.mark.parametrize('perturb', ['head', 'all'])
def test_without_radius_weights_and_first_labels_are_those_of_the_plain_step(perturb, change):
    data = classifier().data_preprocessor(batch(), True)
    weights = torch.tensor([0.0, 3, 0.5, 2, 1, 0, 4, 0.2])
    mixed = MixedLabels(data['labels'], data['labels'].roll(3), torch.tensor(0.6))
    given = dict(data, weights=weights) if change == 'weights' else dict(data, labels=mixed)
    model, plain = classifier(), classifier()
    passes(sgd(model), perturb=perturb, radius=0.0, flat_target='first').update_params(
        Objective(model, given))
    losses = plain(**data, mode='loss')['loss'] * (weights if change == 'weights' else 1)
    OptimWrapper(sgd(plain)).update_params(losses.mean())
    assert_close(state(model), state(plain), atol=1e-5, rtol=1e-4)
