"""Steps that are left out: the model and its optimizer as if the batch had not been there."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from ltcls.hooks import NaNGuardHook, NonFiniteError
from ltcls.hooks.fused_optimizer import start_momentum
from ltcls.hooks.nan_guard import StepFilter
from ltcls.longtail import Clock
from ltcls.optim_wrappers import GNM, SAM, Objective, PerturbedOptimWrapper

GOOD = [torch.full((4, 3), value) + torch.arange(12.0).reshape(4, 3) / 10 for value in (1, 2, 3, 4)]
BAD = torch.full((4, 3), torch.nan)
INFINITE = torch.full((4, 3), torch.inf)


class Model(BaseModel):
    """Batch norm and a linear layer; the squares of its outputs are the losses [B]."""

    clock = Clock()

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm1d(3)
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.layer(self.norm(inputs)).square().sum(1))


def steps(wrapper_class, optimizer, batches, guard, accumulate=1, **options):
    """The state of model and optimizer after training on the batches, and what was dropped."""
    model = Model()
    optimizer = getattr(torch.optim, optimizer)(model.parameters(), lr=0.01, **options)
    wrapper = wrapper_class(optimizer, accumulative_counts=accumulate)
    wrapper.initialize_count_status(model, 0, len(batches))
    start_momentum(optimizer)
    filter = StepFilter(model, wrapper) if guard else None
    torch.manual_seed(1)
    for batch in batches:
        if guard:
            filter.remember()
        if isinstance(wrapper, PerturbedOptimWrapper):
            wrapper.update_params(Objective(model, dict(inputs=batch)))
        else:
            wrapper.update_params(model.parse_losses(model(batch))[0])
    found = dict(model.state_dict())
    del found['norm.num_batches_tracked']
    for index, state in optimizer.state_dict()['state'].items():
        found.update({f'{index}.{name}': value for name, value in state.items()})
    return found, filter.count() if guard else None


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(other[name])), name


@pytest.mark.parametrize('bad', [BAD, INFINITE], ids=['nan', 'inf'])
@pytest.mark.parametrize('wrapper', [OptimWrapper, PerturbedOptimWrapper, SAM])
@pytest.mark.parametrize(('optimizer', 'options'), [
    ('SGD', dict(momentum=0.9, weight_decay=0.1)),
    ('SGD', dict(momentum=0.9, fused=True)),
    ('AdamW', dict(foreach=True)), ('Adam', dict(fused=True))])
def test_a_dropped_step_leaves_no_trace(wrapper, optimizer, options, bad):
    reference, _ = steps(wrapper, optimizer, GOOD, guard=False, **options)
    found, counts = steps(wrapper, optimizer, [bad, *GOOD[:2], bad, *GOOD[2:], bad], guard=True,
                          **options)
    assert counts == (3, 7)
    assert_equal(found, reference)


@pytest.mark.parametrize('wrapper', [OptimWrapper, PerturbedOptimWrapper])
def test_under_accumulation_the_whole_step_goes(wrapper):
    reference, _ = steps(wrapper, 'SGD', GOOD[2:], guard=False, accumulate=2, momentum=0.9)
    found, counts = steps(wrapper, 'SGD', [GOOD[0], BAD, *GOOD[2:]], guard=True, accumulate=2,
                          momentum=0.9)
    assert counts == (1, 2)
    assert_equal(found, reference)


def test_a_bad_loss_with_a_good_gradient_counts_as_bad():
    class Constant(Model):
        def forward(self, inputs, mode='loss'):
            return dict(loss=super().forward(inputs)['loss'] + self.offset)

    model = Constant()
    model.offset = torch.tensor(torch.inf)          # its gradient is finite
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    filter = StepFilter(model, wrapper)
    before = model.layer.weight.clone()
    filter.remember()
    wrapper.update_params(model.parse_losses(model(GOOD[0]))[0])
    assert torch.equal(model.layer.weight, before) and filter.count() == (1, 1)


@pytest.mark.parametrize('options', [dict(fused=True), dict(fused=False), dict(foreach=True)])
@pytest.mark.parametrize('first', [True, False])
def test_with_a_float16_scaler_a_dropped_step_leaves_no_trace(options, first):
    def after(batches, guard):
        torch.manual_seed(0)
        model = Model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, **options)
        start_momentum(optimizer)
        wrapper = PerturbedOptimWrapper(optimizer, loss_scale=dict(init_scale=8.0))
        filter = StepFilter(model, wrapper) if guard else None
        for batch in batches:
            if guard:
                filter.remember()
            wrapper.update_params(Objective(model, dict(inputs=batch)))
        found = dict(model.state_dict())
        del found['norm.num_batches_tracked']
        return found, filter and filter.count(), wrapper.loss_scaler.get_scale()

    batches = [BAD, *GOOD] if first else [GOOD[0], BAD, *GOOD[1:]]
    found, counts, scale = after(batches, guard=True)
    assert counts == (1, len(batches)) and scale == 4.0
    assert_equal(found, after(GOOD, guard=False)[0])


def test_gradients_that_nobody_has_unscaled_are_before_a_step_that_is_not_fused():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0, fused=False))
    StepFilter(model, wrapper)
    scaler = torch.amp.GradScaler('cpu', init_scale=8.0)
    scaler.scale(model(torch.ones(1, 1)).sum()).backward()
    scaler.step(wrapper.optimizer)
    assert model.weight.item() == -1.0


def test_a_float16_scaler_and_the_filter_work_together():
    model = Model()
    wrapper = GNM(torch.optim.SGD(model.parameters(), lr=0.1, fused=True), rho=0.0,
                  schedule='constant', loss_scale=dict(init_scale=8.0))
    filter = StepFilter(model, wrapper)
    for batch in (GOOD[0], BAD, GOOD[1]):
        filter.remember()
        wrapper.update_params(Objective(model, dict(inputs=batch)))
    assert all(p.isfinite().all() for p in model.parameters())
    assert wrapper.loss_scaler.get_scale() == 4.0


def test_a_running_statistic_that_is_no_number_is_not_saved():
    norm = nn.BatchNorm1d(2)
    norm.running_var[0] = torch.inf
    runner = SimpleNamespace(model=norm, epoch=0, iter=6, work_dir='.',
                             message_hub=SimpleNamespace(runtime_info={}))
    with pytest.raises(NonFiniteError, match="component 'running_var'"):
        NaNGuardHook()._check_weights(runner)


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(on_nan='skp'), "on_nan='skp'; choose from stop, skip"), (dict(interval=0), 'interval=0')])
def test_settings_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NaNGuardHook(**arguments)


def test_losses_are_read_inside_an_epoch():
    runner = SimpleNamespace(epoch=0, model=nn.Linear(1, 1), work_dir='.',
                             train_dataloader=range(100),
                             message_hub=SimpleNamespace(runtime_info={}))
    hook = NaNGuardHook(interval=4)
    hook.before_train_epoch(runner)
    with pytest.raises(NonFiniteError, match='iteration 2 '):
        for number in range(4):
            loss = torch.tensor(float('nan') if number == 1 else 1.0)
            hook.after_train_iter(runner, number, outputs=dict(loss=loss))
    assert number == 3
