"""Fused optimizers: a first step that is left out, a late gradient, a change of device."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from ltcls.hooks import FusedOptimizerHook, MetaWeightNetHook


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, **options)


def begun(optimizer):
    FusedOptimizerHook().before_train(SimpleNamespace(optim_wrapper=OptimWrapper(optimizer)))
    return optimizer


def trained(optimizer, model, losses, scaler=None):
    scaler = scaler or torch.amp.GradScaler('cpu', enabled=False)
    for loss in losses:
        optimizer.zero_grad()
        scaler.scale(loss(model)).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def model_of(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(3, 2, dtype=torch.float64)


def good(model):
    return model(torch.ones(1, 3, dtype=torch.float64)).square().sum()


def infinite(model):
    return good(model) * float('inf')


@pytest.fixture
def filled_memory():
    """Memory that nobody wrote to holds NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize('losses', [[infinite, good, good], [good, infinite, good], [good, good]])
def test_a_first_step_that_the_scaler_leaves_out_leaves_no_trace(filled_memory, losses):
    one, other = model_of(), model_of()
    found = trained(begun(sgd(one, fused=True)), one, losses, torch.amp.GradScaler('cpu'))
    expected = trained(sgd(other), other, [loss for loss in losses if loss is good])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_a_weight_may_get_its_first_gradient_later_than_another():
    def without_bias(model):
        return nn.functional.linear(torch.ones(1, 3, dtype=torch.float64), model.weight).sum()
    one, other = model_of(), model_of()
    found = trained(begun(sgd(one, fused=True)), one, [without_bias, good, good])
    expected = trained(sgd(other), other, [without_bias, good, good])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_a_momentum_that_was_loaded_stays():
    model = model_of()
    optimizer = sgd(model, fused=True)
    trained(begun(optimizer), model, [good])
    before = optimizer.state[model.weight]['momentum_buffer'].clone()
    assert torch.equal(begun(optimizer).state[model.weight]['momentum_buffer'], before)
    assert before.abs().sum() > 0


def test_an_optimizer_that_is_not_fused_is_left_alone():
    model = model_of()
    assert not begun(sgd(model)).state
    assert not begun(torch.optim.AdamW(model.parameters(), fused=True)).state


def test_dampening_is_refused():
    optimizer = torch.optim.SGD(model_of().parameters(), lr=0.1, momentum=0.9, dampening=0.1,
                                fused=True)
    with pytest.raises(ValueError, match='set optim_wrapper.optimizer.fused=False'):
        begun(optimizer)


@pytest.mark.parametrize('kind', [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize(('before', 'after'), [(None, True), (True, None)])
def test_a_run_goes_on_with_the_implementation_of_its_own_device(kind, before, after):
    options = dict(lr=0.1, **(dict(momentum=0.9) if kind is torch.optim.SGD else {}))
    one, other, third = model_of(), model_of(), model_of()
    first = kind(one.parameters(), fused=before, **options)
    trained(begun(first), one, [good])
    content = dict(optimizer=first.state_dict())
    other.load_state_dict(one.state_dict())
    second = kind(other.parameters(), fused=after, **options)
    FusedOptimizerHook().after_load_checkpoint(
        SimpleNamespace(optim_wrapper=OptimWrapper(second)), content)
    second.load_state_dict(content['optimizer'])
    assert second.param_groups[0]['fused'] == after
    scaler = torch.amp.GradScaler('cpu')
    found = trained(begun(second), other, [infinite, good], scaler)
    plain = kind(third.parameters(), **options)
    torch.testing.assert_close(found, trained(plain, third, [good, good]), rtol=1e-12, atol=0)


@pytest.mark.parametrize('fused', [None, True])
def test_counts_of_steps_lie_on_the_host_unless_adam_is_fused(fused):
    model = model_of()
    optimizer = torch.optim.AdamW(model.parameters(), fused=fused)
    trained(optimizer, model, [good])
    content = dict(optimizer=optimizer.state_dict())
    for values in content['optimizer']['state'].values():
        values['step'] = values['step'].to('meta')      # a device; nothing can be copied from it
    runner = SimpleNamespace(optim_wrapper=OptimWrapper(optimizer))
    with nullcontext() if fused else pytest.raises(NotImplementedError, match='copy out of meta'):
        FusedOptimizerHook().after_load_checkpoint(runner, content)


def test_a_resumed_meta_weight_net_counts_its_steps_on_the_host():
    hook, model = MetaWeightNetHook(), SimpleNamespace(class_counts=torch.ones(2))
    for parameter in hook.net.parameters():
        parameter.grad = torch.ones_like(parameter)
    hook.optimizer.step()
    checkpoint = {}
    hook.before_save_checkpoint(None, checkpoint)
    for values in checkpoint['meta_weight_net']['optimizer']['state'].values():
        values['step'] = values['step'].to('meta')
    hook.after_load_checkpoint(None, checkpoint)
    with pytest.raises(NotImplementedError, match='copy out of meta'):
        hook.prepare(model, None)


def test_a_checkpoint_for_a_test_is_left_as_it_is():
    content = dict(state_dict={})
    FusedOptimizerHook().after_load_checkpoint(SimpleNamespace(optim_wrapper=None), content)
    assert content == dict(state_dict={})
