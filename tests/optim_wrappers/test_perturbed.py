"""What all perturbed optim wrappers share: the step, restoring, buffers, precision, state."""

import copy
from functools import partial

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
from perturbed_toys import (COUNTS, CountingLoss, FunctionModel, ToyBackbone, batch, classifier,
                            objective, quadratic, rows, same, sgd, state)
from torch.testing import assert_close

from ltcls.models import MixedLabels
from ltcls.optim_wrappers import (CCSAM, GNM, SAM, GradientNormPenalty, ImbSAM, ModelPerturbation,
                                  Objective, PerturbedOptimWrapper, RwSAM)
from ltcls.registry import OPTIM_WRAPPERS

METHODS = [SAM, ImbSAM, RwSAM, GNM, CCSAM, GradientNormPenalty, ModelPerturbation]
# Settings with which a method is the plain step.
PLAIN = [(PerturbedOptimWrapper, {}), (SAM, dict(rho=0)), (RwSAM, dict(rho=0)), (GNM, dict(rho=0)),
         (ImbSAM, dict(rho=0, tail_weight=1)), (GradientNormPenalty, dict(rho=0)),
         (CCSAM, dict(mix=0)), (CCSAM, dict(radius=0)), (CCSAM, dict(radius=0, mix=0.3)),
         (CCSAM, dict(radius=0, perturb='all', variant='mag')),
         (CCSAM, dict(mix=0, perturb='last_blocks')), (GNM, dict(sigma=0)),
         (GNM, dict(sigma=0, total_norm=True)), (ModelPerturbation, dict(bound=0)),
         (ModelPerturbation, dict(variance=0, distribution='gaussian', std_weight=0.5))]
IDS = [f'{method.__name__}-{"-".join(options)}' for method, options in PLAIN]


def train(model, wrapper, steps=3):
    losses = []
    for number in range(steps):
        torch.manual_seed(number)
        losses.append(model.train_step(batch(seed=number), wrapper)['loss'])
    return torch.stack(losses)


@pytest.mark.parametrize(('method', 'options'), PLAIN, ids=IDS)
@pytest.mark.parametrize('setting', [
    dict(), dict(accumulative_counts=2), dict(clip_grad=dict(max_norm=0.05)),
    dict(clip_grad=dict(type='value', clip_value=0.01))], ids=['', 'accumulated', 'norm', 'value'])
def test_without_perturbation_it_is_the_plain_wrapper_bit_for_bit(method, options, setting):
    plain, perturbed = classifier(), classifier()
    optimizer = dict(momentum=0.9, weight_decay=0.01)
    expected = train(plain, OptimWrapper(sgd(plain, **optimizer), **copy.deepcopy(setting)), 4)
    wrapper = method(sgd(perturbed, **optimizer), **options, **copy.deepcopy(setting))
    found = train(perturbed, wrapper, 4)
    assert torch.equal(found, expected)
    assert same(state(perturbed), state(plain))


@pytest.mark.parametrize(('method', 'options'), PLAIN, ids=IDS)
@pytest.mark.parametrize('model', [
    dict(backbone=dict(type=ToyBackbone, dropout=0.5)), dict(mixing=dict(type='Mixup')),
    dict(loss='GCLLoss', head='CosineHead'), dict(precision='bfloat16', channels_last=True),
    dict(frozen=['backbone'])], ids=['dropout', 'mixup', 'gcl', 'bfloat16', 'frozen'])
def test_the_plain_step_is_that_of_any_model(method, options, model):
    plain, perturbed = classifier(**model), classifier(**model)
    train(plain, OptimWrapper(sgd(plain)))
    train(perturbed, method(sgd(perturbed), **options))
    assert same(state(perturbed), state(plain))


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('model', [
    dict(loss=dict(type='LDAMLoss'), head='CosineHead'), dict(loss='VSLoss'),
    dict(loss='GCLLoss', head='CosineHead', mixing=dict(type='Mixup')),
    dict(loss='GCLLoss', mixing=dict(type='CutMix'), precision='bfloat16'),
    dict(head='LWSHead', frozen=['backbone'])], ids=['ldam', 'vs', 'gcl', 'bfloat16', 'frozen'])
def test_a_small_perturbation_is_close_to_the_plain_step_with_any_loss_and_head(method, model):
    small = dict(ModelPerturbation=dict(bound=1e-6), CCSAM=dict(radius=1e-6),
                 ImbSAM=dict(rho=1e-6, tail_weight=1)).get(method.__name__, dict(rho=1e-6))
    plain, perturbed = classifier(**model), classifier(**model)
    noisy = 'GCLLoss' in str(model)
    if noisy:          # evaluations draw their own noise, so it has to be switched off to compare
        plain.loss.cloud_size = perturbed.loss.cloud_size = 0.0
    torch.manual_seed(5)
    plain.train_step(batch(), OptimWrapper(sgd(plain)))
    torch.manual_seed(5)
    perturbed.train_step(batch(), method(sgd(perturbed), **small))
    tolerance = 5e-3 if model.get('precision') else 1e-4
    assert_close(state(perturbed), state(plain), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize('method', METHODS)
def test_tools_before_a_model_was_seen_say_so(method):
    model = classifier()
    wrapper = method(sgd(model))
    loss = model(**model.data_preprocessor(batch(), True), mode='loss')['loss'].mean()
    for tool in (lambda: wrapper.params, lambda: wrapper.names, lambda: wrapper.gradient(loss),
                 lambda: wrapper.perturbed([torch.ones(())]).__enter__()):
        with pytest.raises(RuntimeError, match=f'{method.__name__} has not seen its model yet'):
            tool()
    wrapper.choose(model)
    assert wrapper.names == [name for name, _ in model.named_parameters()]
    assert all(a is b for a, b in zip(wrapper.params, model.parameters()))


# -- restoring ------------------------------------------------------------------------------------


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_weights_come_back_bit_for_bit(dtype):
    model = classifier().to(dtype)
    with torch.no_grad():
        model.head.bias.copy_(torch.tensor([-0.0, 1e-40, 1e30, 0.1]))
    wrapper = PerturbedOptimWrapper(sgd(model))
    wrapper.choose(model)
    before = state(model)
    signs = model.head.bias.signbit().clone()
    for _ in range(3):
        with wrapper.perturbed([torch.randn_like(p) for p in wrapper.params]):
            assert not torch.equal(model.head.weight, before['head.weight'])
    assert same(state(model), before) and torch.equal(model.head.bias.signbit(), signs)


@pytest.mark.parametrize('method', [SAM, ImbSAM, RwSAM, GNM, GradientNormPenalty, ModelPerturbation])
def test_a_loss_that_raises_leaves_weights_and_buffers_as_after_the_first_pass(method):
    def interrupted(model, inputs, labels):
        if model.evaluations >= limit:
            raise KeyboardInterrupt
        return quadratic(model, inputs, labels)

    for limit in (1, 2):
        model = FunctionModel(interrupted, weight=[1.0, 2.0], class_counts=(1,))
        wrapper = method(sgd(model))
        before = state(model)
        try:
            wrapper.update_params(objective(model, rows([4, 1])))
        except KeyboardInterrupt:
            assert same(state(model), before) and not wrapper.displaced
            assert model.weight.grad is None
        else:
            assert method is GNM and limit == 2      # a single evaluation


class Failing(CountingLoss):
    """Raises in its evaluation number `left` from now on."""

    left = -1

    def forward(self, logits, labels):
        self.left -= 1
        if self.left == 0:
            raise ZeroDivisionError
        return super().forward(logits, labels)


@pytest.mark.parametrize('accumulated', [False, True])
@pytest.mark.parametrize(('method', 'options', 'head', 'evaluations'), [
    (PerturbedOptimWrapper, {}, 'LinearHead', 1), (SAM, {}, 'LinearHead', 2),
    (ImbSAM, dict(threshold=15), 'LinearHead', 2), (GNM, {}, 'LinearHead', 1),
    (GradientNormPenalty, {}, 'LinearHead', 2), (ModelPerturbation, dict(draws=3), 'LinearHead', 3),
    (ModelPerturbation, dict(std_weight=1), 'LinearHead', 2), (CCSAM, {}, 'LinearHead', 2),
    # Clean pass, then gradient and perturbed loss of each of four classes.
    (CCSAM, dict(mix=0.5), 'CosineHead', 9), (CCSAM, dict(perturb='all'), 'LinearHead', 9)],
    ids=['plain', 'SAM', 'ImbSAM', 'GNM', 'GradientNormPenalty', 'ModelPerturbation',
         'ModelPerturbation-spread', 'CCSAM', 'CCSAM-loop', 'CCSAM-all'])
def test_a_loss_that_raises_leaves_the_gradients_of_earlier_micro_batches(
        method, options, head, evaluations, accumulated):
    model = classifier(loss=Failing, head=head)
    wrapper = method(sgd(model), accumulative_counts=3, **options)
    if accumulated:
        model.train_step(batch(seed=1), wrapper)
    weights = [p.detach().clone() for p in model.parameters()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    assert any(grad is not None for grad in grads) is accumulated
    for number in range(evaluations):
        model.loss.left = number + 1
        with pytest.raises(ZeroDivisionError):
            model.train_step(batch(seed=2), wrapper)
        for parameter, weight, grad in zip(model.parameters(), weights, grads):
            assert torch.equal(parameter, weight)
            assert (parameter.grad is None if grad is None else torch.equal(parameter.grad, grad))
    model.loss.left = evaluations + 1
    model.train_step(batch(seed=2), wrapper)        # there are no more evaluations
    assert model.loss.left == 1


def test_buffers_and_their_mode_come_back_when_an_evaluation_raises():
    model = classifier(loss=CountingLoss)
    found = Objective(model, model.data_preprocessor(batch(), True))
    found()
    before, buffers = state(model), dict(model.named_buffers())
    model.backbone.conv.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found()
    assert same(state(model), before) and model.backbone.bn.track_running_stats
    assert all(model.get_buffer(name) is buffer for name, buffer in buffers.items())


# -- buffers --------------------------------------------------------------------------------------


@pytest.mark.parametrize('momentum', [0.1, None])
@pytest.mark.parametrize('method', [
    *METHODS, pytest.param(partial(CCSAM, perturb='all'), id='CCSAM-all')])
def test_statistics_move_once_an_iteration(method, momentum):
    backbone = dict(type=ToyBackbone, momentum=momentum)
    model, reference = (classifier(backbone=backbone, loss=CountingLoss) for _ in range(2))
    options = dict(rho=0) if method is GNM else {}
    if method is ModelPerturbation:
        options = dict(bound=0)        # like GNM it only ever sees perturbed weights
    wrapper = method(sgd(model, lr=0), **options)
    for number in range(3):
        model.train_step(batch(seed=number), wrapper)
        data = reference.data_preprocessor(batch(seed=number), True)
        with torch.no_grad():
            reference(**data, mode='loss')
    assert same(dict(model.named_buffers()), dict(reference.named_buffers()))
    assert model.backbone.bn.num_batches_tracked == 3 and model.loss.seen == 24


@pytest.mark.parametrize('method', [
    *METHODS, pytest.param(partial(CCSAM, perturb='all'), id='CCSAM-all')])
def test_a_head_that_averages_features_sees_each_batch_once_and_whole(method):
    head = dict(type='CausalNormHead', heads=5)
    model, reference = classifier(head=head), classifier(head=head)
    options = dict(rho=0) if method is GNM else dict(bound=0) if method is ModelPerturbation else {}
    wrapper = method(sgd(model, lr=0), **options)
    expected = torch.zeros(5)
    for number in range(3):
        model.train_step(batch(seed=number), wrapper)
        data = reference.data_preprocessor(batch(seed=number), True)
        with torch.no_grad():
            expected = 0.9 * expected + reference.extract(data['inputs']).mean(dim=0)
    assert_close(model.head.running_feature, expected)


def test_frozen_batch_norm_goes_on_using_its_running_statistics():
    model = classifier(frozen=['backbone'])
    model.backbone.bn.running_mean.fill_(3.0)
    found = Objective(model, model.data_preprocessor(batch(), True))
    assert torch.equal(found(), found())
    assert torch.equal(model.backbone.bn.running_mean, torch.full((5,), 3.0))


# -- which parameters -----------------------------------------------------------------------------


@pytest.mark.parametrize('method', [SAM, ImbSAM, GNM, GradientNormPenalty, ModelPerturbation])
def test_frozen_and_unused_parameters_are_never_perturbed_and_never_move(method):
    model = classifier(frozen=['backbone.conv'])
    before = state(model)
    seen = {}

    def look(*_):
        seen.setdefault('conv', []).append(model.backbone.conv.weight.detach().clone())
        seen.setdefault('unused', []).append(model.backbone.unused.detach().clone())
        seen.setdefault('head', []).append(model.head.weight.detach().clone())
    model.backbone.register_forward_hook(look)
    # Weight decay would move a parameter that got a gradient of zeros.
    wrapper = method(sgd(model, weight_decay=0.1))
    train(model, wrapper, 2)
    after = state(model)
    assert all(torch.equal(w, before['backbone.conv.weight']) for w in seen['conv'])
    assert torch.equal(after['backbone.conv.weight'], before['backbone.conv.weight'])
    assert torch.equal(after['backbone.unused'], before['backbone.unused'])
    assert any(not torch.equal(w, before['head.weight']) for w in seen['head'])
    if method not in (GNM, ModelPerturbation):     # noise does not know what the loss will use
        assert all(torch.equal(w, before['backbone.unused']) for w in seen['unused'])


def test_patterns_choose_what_is_perturbed():
    model = classifier()
    chosen = {
        (): ['backbone.unused', 'backbone.conv.weight', 'backbone.conv.bias', 'backbone.bn.weight',
             'backbone.bn.bias', 'head.weight', 'head.bias'],
        (('include', ('^head',)),): ['head.weight', 'head.bias'],
        (('exclude', ('bn', 'unused', 'bias')),): ['backbone.conv.weight', 'head.weight'],
        (('exclude_norm_bias', True),): ['backbone.conv.weight', 'head.weight']}
    for options, names in chosen.items():
        wrapper = SAM(sgd(model), **dict(options))
        wrapper.choose(model)
        assert wrapper.names == names
    wrapper = SAM(torch.optim.SGD(model.head.parameters(), lr=1))
    wrapper.choose(model)
    assert wrapper.names == ['head.weight', 'head.bias']


def test_settings_that_cannot_be_are_refused():
    model = classifier()
    with pytest.raises(TypeError, match="SAM got include='fc'; it must be a list"):
        SAM(sgd(model), include='fc')
    with pytest.raises(ValueError, match='include=.*leave no trainable parameter'):
        train(model, SAM(sgd(model), include=['fc']))
    with pytest.raises(TypeError, match='Tensor instead of an Objective.*Classifier'):
        SAM(sgd(model)).update_params(torch.tensor(1.0, requires_grad=True))
    with pytest.raises(TypeError, match='head.weight.*bfloat16.*model.precision'):
        low = classifier()
        low.head.to(torch.bfloat16)
        low.train_step(batch(), SAM(sgd(low)))
    with pytest.raises(ValueError, match="loss_scale='big'"):
        SAM(sgd(model), loss_scale='big')
    with pytest.raises(ValueError, match=r'SAM got rho=\[\(3, 0.1\)\]'):
        SAM(sgd(model), rho=[(3, 0.1)])
    for method in (SAM, ImbSAM, GradientNormPenalty, GNM):
        with pytest.raises(ValueError, match='rho=-1'):
            method(sgd(model), rho=-1)
    with pytest.raises(ValueError, match="variant='both'; use full, dir, mag"):
        CCSAM(sgd(model), variant='both')
    with pytest.raises(RuntimeError, match='cannot be nested'):
        wrapper = SAM(sgd(model))
        wrapper.choose(model)
        offsets = [torch.ones_like(p) for p in wrapper.params]
        with wrapper.perturbed(offsets), wrapper.perturbed(offsets):
            pass


@pytest.mark.parametrize('method', [ImbSAM, RwSAM, CCSAM])
def test_a_model_without_class_counts_is_refused_where_they_are_used(method):
    model = classifier()
    model.bound = False
    wrapper = method(sgd(model))
    for _ in range(2):
        with pytest.raises(RuntimeError, match=f'{method.__name__} found no class counts in the '
                                               'model: keep LongTailHook in default_hooks.'):
            model.train_step(batch(), wrapper)
    model.bind(COUNTS)
    model.train_step(batch(), wrapper)


def test_a_method_that_leaves_no_gradient_is_refused():
    class Forgetful(PerturbedOptimWrapper):
        def accumulate_grad(self, objective):
            objective().mean()

    model = classifier()
    with pytest.raises(RuntimeError, match='Forgetful.accumulate_grad has left no gradient'):
        model.train_step(batch(), Forgetful(sgd(model)))


# -- accumulation, clipping, precision ------------------------------------------------------------


@pytest.mark.parametrize(('method', 'options', 'head'), [
    (SAM, dict(rho=0.1), 'LinearHead'), (ImbSAM, dict(rho=0.1, threshold=15), 'LinearHead'),
    (RwSAM, dict(rho=0.1), 'LinearHead'), (GNM, dict(rho=0.3), 'LinearHead'),
    (CCSAM, dict(mix=0.7), 'LinearHead'), (CCSAM, dict(mix=0.4, radius=0.3), 'CosineHead'),
    (CCSAM, dict(perturb='all', radius=0.3), 'LinearHead'),
    (CCSAM, dict(perturb='last_blocks', radius=0.3, mix=0.3), 'CosineHead'),
    (GradientNormPenalty, {}, 'LinearHead'), (ModelPerturbation, dict(bound=0.3), 'LinearHead'),
    (ModelPerturbation, dict(bound=0.3, std_weight=0.5), 'LinearHead'),
    (PerturbedOptimWrapper, {}, 'LinearHead')])
def test_two_accumulated_batches_are_the_mean_of_their_perturbed_gradients(method, options, head):
    grads = []
    for seed in (1, 2):
        model = classifier(head=head)
        before = state(model)
        torch.manual_seed(seed)      # of the noise
        model.train_step(batch(seed=seed), method(sgd(model, lr=1), **options))
        after = state(model)
        grads.append({name: before[name] - after[name] for name in before})
        model.load_state_dict(before)
    model = classifier(head=head)
    wrapper = method(sgd(model, lr=1), accumulative_counts=2, **options)
    torch.manual_seed(1)
    model.train_step(batch(seed=1), wrapper)
    parameters = [name for name, _ in model.named_parameters()]
    assert all(torch.equal(state(model)[name], before[name]) for name in parameters)
    torch.manual_seed(2)
    model.train_step(batch(seed=2), wrapper)
    after = state(model)
    for name in parameters:
        assert_close(before[name] - after[name], (grads[0][name] + grads[1][name]) / 2,
                     atol=2e-6, rtol=1e-4)


def test_the_last_incomplete_window_steps_with_its_own_mean():
    # Three micro-batches, windows of two: the third steps alone with the full weight.
    model = FunctionModel(quadratic, weight=[1.0, 2.0])
    wrapper = SAM(sgd(model), rho=0.1, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 3)
    alone = FunctionModel(quadratic, weight=[1.0, 2.0])
    for _ in range(2):
        wrapper.update_params(objective(model, rows([1, 3])))
    with torch.no_grad():
        alone.weight.copy_(model.weight)
    wrapper.update_params(objective(model, rows([4, 1])))
    SAM(sgd(alone), rho=0.1).update_params(objective(alone, rows([4, 1])))
    assert_close(model.weight, alone.weight, atol=1e-14, rtol=0)


def test_clipping_acts_on_the_final_gradient_only():
    # Gradient of the worked SAM example, (4.35777088, 2.04472136), cut to a norm of 1.
    model = FunctionModel(quadratic, weight=[1.0, 2.0])
    SAM(sgd(model), rho=0.1, clip_grad=dict(max_norm=1.0)).update_params(
        objective(model, rows([4, 1])))
    grad = rows(4.35777088, 2.04472136)
    assert_close(model.weight, rows(1, 2) - 0.1 * grad / grad.norm(), atol=1e-6, rtol=0)


def test_bfloat16_evaluates_the_backbone_low_and_perturbs_float32_weights():
    model = classifier(precision='bfloat16')
    types = []
    model.backbone.conv.register_forward_hook(lambda m, i, out: types.append(out.dtype))
    exact = classifier()
    for network in (model, exact):
        network.train_step(batch(), SAM(sgd(network), rho=0.5))
    assert types == [torch.bfloat16] * 2
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert_close(state(model), state(exact), atol=5e-3, rtol=5e-2)
    moved = torch.cat([(p - q).flatten() for p, q in zip(model.parameters(), exact.parameters())])
    assert moved.abs().max() > 0


@pytest.mark.parametrize(('method', 'options'), [
    (SAM, dict(rho=2)), (ImbSAM, dict(rho=2)), (GradientNormPenalty, dict(rho=2)),
    (ModelPerturbation, dict(bound=2))])
def test_a_perturbed_pass_sees_the_perturbed_weights_under_autocast(method, options):
    # Cached low-precision copies of the weights would make the second pass repeat the first.
    outputs = []
    model = classifier(precision='bfloat16')
    model.backbone.conv.register_forward_hook(lambda m, i, out: outputs.append(out.detach()))
    model.train_step(batch(), method(sgd(model), **options))
    assert len(outputs) == 2 and not torch.equal(*outputs)


@pytest.mark.parametrize('scale', [1024.0, 'dynamic', dict(init_scale=256.0)])
@pytest.mark.parametrize(('method', 'options'), [
    (SAM, dict(rho=0.1)), (GNM, dict(rho=0.1)), (ImbSAM, dict(rho=0.1, threshold=15)),
    (GradientNormPenalty, {}), (CCSAM, dict(mix=0.7)), (CCSAM, dict(perturb='all')),
    (ModelPerturbation, dict(std_weight=0.5))])
def test_loss_scaling_changes_nothing_but_the_range(method, options, scale):
    # Scales are powers of two, so that float32 arithmetic is the same up to under- and overflow.
    plain, scaled = classifier(), classifier()
    setting = dict(clip_grad=dict(max_norm=0.1), accumulative_counts=2)
    train(plain, method(sgd(plain), **options, **copy.deepcopy(setting)), 2)
    train(scaled, method(sgd(scaled), loss_scale=scale, **options, **copy.deepcopy(setting)), 2)
    assert_close(state(scaled), state(plain), atol=1e-6, rtol=1e-5)


def test_a_float16_step_that_is_not_finite_is_skipped_and_the_scale_halved():
    model = classifier(precision='float16')
    wrapper = SAM(sgd(model, momentum=0.9), loss_scale=dict(init_scale=2.0 ** 120))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.train_step(batch(), wrapper)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert wrapper.loss_scaler.get_scale() == 2.0 ** 119
    model.train_step(batch(), SAM(sgd(model), loss_scale=256.0))
    assert not torch.equal(model.head.weight, before['head.weight'])


@pytest.mark.parametrize(('scale', 'after'), [(1024.0, 1024.0), ('dynamic', 2.0 ** 15)])
def test_a_constant_scale_stays_and_a_dynamic_one_is_resumed(scale, after):
    model = FunctionModel(quadratic, weight=[1.0, 2.0])
    first, again = (PerturbedOptimWrapper(sgd(model), loss_scale=scale) for _ in range(2))
    first.update_params(objective(model, rows([float('inf'), 1])))
    assert first.loss_scaler.get_scale() == after
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    assert again.loss_scaler.get_scale() == after


def test_a_stage_in_which_nothing_trains_may_scale_its_loss():
    model = classifier(frozen=['backbone', 'head'])
    assert PerturbedOptimWrapper(sgd(model), loss_scale='dynamic').loss_scaler is not None


@pytest.mark.parametrize(('method', 'options'), [
    (GradientNormPenalty, {}), (ModelPerturbation, dict(std_weight=0.5))])
def test_gradients_have_the_strides_of_their_parameters(method, options):
    steps = []
    for fused in (False, True):
        torch.manual_seed(3)
        model = classifier(backbone=dict(type=Permuting))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
        wrapper = method(optimizer, **options)
        wrapper.zero_grad = lambda **kwargs: None      # they are looked at
        torch.manual_seed(0)
        model.train_step(batch(), wrapper)
        assert [p.grad.stride() for p in model.parameters()] == [
            p.stride() for p in model.parameters()]
        steps.append(state(model))
    for name, value in steps[0].items():
        assert_close(steps[1][name], value, msg=lambda text: f'{name}: {text}')


class Permuting(torch.nn.Module):
    """Convolves what has channels last in memory, as ConvNeXt does, with contiguous weights."""

    num_features = 8

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(8, 8, 2, stride=2)

    def forward(self, x):
        x = self.conv1(x).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return self.conv2(x).mean(dim=(2, 3))


def test_float16_without_loss_scaling_is_refused():
    model = classifier(precision='float16')
    for wrapper in (OptimWrapper(sgd(model)), SAM(sgd(model))):
        with pytest.raises(ValueError, match='float16.*needs loss scaling.*loss_scale'):
            model.train_step(batch(), wrapper)
    assert AmpOptimWrapper.__init__.__defaults__[0] == 'dynamic'     # it brings its own scaler


# -- the objective --------------------------------------------------------------------------------


@pytest.mark.parametrize(('method', 'options'), [
    (SAM, dict(rho=0.3)), (RwSAM, dict(rho=0.3)), (ImbSAM, dict(rho=0.3, threshold=15)),
    (GNM, dict(rho=0.3)), (GradientNormPenalty, dict(rho=0.3)), (CCSAM, dict(radius=0.1)),
    (ModelPerturbation, dict(bound=0.5))])
def test_twice_the_sample_weights_are_twice_the_descent(method, options):
    moved, start = [], state(classifier())
    for weight in (1.0, 2.0):
        model = classifier()
        data = dict(model.data_preprocessor(batch(), True), weights=torch.full((8,), weight))
        torch.manual_seed(1)
        if method is CCSAM and weight == 2:        # its radius falls with the norm of the gradient
            options = dict(radius=0.1 * 2 ** 0.5)
        method(sgd(model, lr=1.0), **options).update_params(Objective(model, data))
        moved.append(state(model)['backbone.conv.weight'] - start['backbone.conv.weight'])
    assert_close(moved[1], 2 * moved[0], rtol=1e-3, atol=1e-6)


def test_evaluations_share_the_mixed_images_and_draw_dropout_afresh():
    model = classifier(mixing=dict(type='Mixup'), backbone=dict(type=ToyBackbone, dropout=0.5))
    inputs, features = [], []
    model.backbone.conv.register_forward_pre_hook(lambda m, args: inputs.append(args[0]))
    model.backbone.register_forward_hook(lambda m, args, out: features.append(out.detach()))
    model.train_step(batch(), SAM(sgd(model, lr=0)))
    assert inputs[0] is inputs[1] and not torch.equal(*features)


def test_the_log_is_of_the_first_evaluation_at_the_weights():
    for method in (SAM, ImbSAM, CCSAM, GradientNormPenalty):
        model, plain = classifier(), classifier()
        logs = model.train_step(batch(), method(sgd(model)))
        expected = plain.train_step(batch(), OptimWrapper(sgd(plain)))
        assert_close(logs['loss'], expected['loss'])
        assert not logs['loss'].requires_grad


def test_under_mixing_labels_are_the_first_of_each_pair():
    model = classifier()
    labels = MixedLabels(torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor(0.7))
    found = Objective(model, dict(inputs=None, labels=labels))
    assert torch.equal(found.labels, labels.first)
    assert torch.equal(found.class_counts, torch.tensor(COUNTS, dtype=torch.float64))


def test_losses_of_a_part_are_those_of_the_batch():
    model = classifier().eval()
    model.set_class_weights(torch.tensor([0.2, 0.5, 1.0, 2.3]))
    found = Objective(model, model.data_preprocessor(batch(), False))
    index = torch.tensor([3, 0, 6])
    features = found.features()
    whole = found.losses(features)
    assert_close(found.losses(features, index), whole[index])
    assert_close(found.losses_at({}, index), whole[index])
    weight = model.head.weight + 1
    assert_close(found.losses_at({'head.weight': weight}, index),
                 found.losses(features, index, head={'weight': weight}))


# -- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('method', METHODS)
def test_the_saved_state_is_the_optimizers_alone(method):
    model, plain = classifier(), classifier()
    wrapper, expected = method(sgd(model, momentum=0.9)), OptimWrapper(sgd(plain, momentum=0.9))
    train(model, wrapper)
    train(plain, expected)
    found, stock = wrapper.state_dict(), expected.state_dict()
    assert found.keys() == stock.keys() and found['param_groups'] == stock['param_groups']
    assert {key: value.keys() for key, value in found['state'].items()} == {
        key: value.keys() for key, value in stock['state'].items()}


@pytest.mark.parametrize(('method', 'options'), [
    (SAM, {}), (GNM, dict(halve_at=5)), (CCSAM, {}), (SAM, dict(loss_scale='dynamic'))])
def test_a_resumed_run_continues_as_if_it_had_never_stopped(method, options):
    whole = classifier()
    optimizer = dict(momentum=0.9, weight_decay=1e-3)
    wrapper = method(sgd(whole, **optimizer), **options)
    train(whole, wrapper, 2)
    weights, saved = copy.deepcopy(whole.state_dict()), copy.deepcopy(wrapper.state_dict())
    train(whole, wrapper, 3)
    resumed = classifier(seed=1)
    resumed.load_state_dict(weights)
    again = method(sgd(resumed, **optimizer), **options)
    again.load_state_dict(saved)
    train(resumed, again, 3)
    assert same(state(resumed), state(whole))


def test_no_checkpoint_and_no_step_inside_a_perturbation():
    model = classifier()
    wrapper = SAM(sgd(model))
    wrapper.choose(model)
    with wrapper.perturbed([torch.ones_like(p) for p in wrapper.params]):
        with pytest.raises(RuntimeError, match='perturbed weights'):
            wrapper.state_dict()
        with pytest.raises(RuntimeError, match='perturbed weights'):
            wrapper.step()


@pytest.mark.parametrize('method', METHODS)
def test_every_method_is_found_by_its_name(method):
    model = classifier()
    wrapper = build_optim_wrapper(model, dict(
        type=f'ltcls.{method.__name__}', optimizer=dict(type='SGD', lr=0.1)))
    assert type(wrapper) is method is OPTIM_WRAPPERS.get(method.__name__)
