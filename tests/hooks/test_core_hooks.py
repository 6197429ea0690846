"""The hooks of every run: counts and clock, seeds, plain checkpoints, the training log."""

import collections
import json
import pickle
import random
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import (CosineAnnealingLR, LinearLR, MultiStepLR, OneCycleLR, OptimWrapper,
                            PolyLR)
from mmengine.runner import Runner as MMEngineRunner
from torch import nn
from two_ranks import on_two_ranks

from ltcls.compat import load_from_disk
from ltcls.hooks import (EpochSeedHook, LongTailHook, PlainCheckpointHook, QuietRuntimeInfoHook,
                         SyncStatisticsHook, TrainingLogHook)
from ltcls.hooks.epoch_seed import epoch_seed
from ltcls.hooks.training_log import _clock
from ltcls.hooks.weight_average import measure_batch_norm
from ltcls.longtail import Clock
from ltcls.models.heads import CausalNormHead

# -- counts and clock -----------------------------------------------------------------------


class Model(nn.Module):

    def __init__(self, counts=(0, 0)):
        super().__init__()
        self.register_buffer('class_counts', torch.tensor(counts, dtype=torch.float64))
        self.bound, self.clock = [], None

    def bind(self, counts):
        self.class_counts.copy_(torch.as_tensor(counts))
        self.bound.append(list(counts))

    def set_clock(self, clock):
        self.clock = clock


def loader_of(counts, sampler=None):
    return SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(class_counts=counts)),
                           sampler=sampler or object())


def test_the_model_is_bound_to_the_counts_of_the_training_set():
    told = []
    sampler = SimpleNamespace(set_max_epochs=told.append)
    wrapper = SimpleNamespace(check_counts=told.append)
    runner = SimpleNamespace(model=Model(), train_dataloader=loader_of([9, 4], sampler),
                             max_epochs=30, optim_wrapper=wrapper)
    LongTailHook().before_train(runner)
    assert runner.model.bound == [[9, 4]] and told == [[9, 4], 30]
    runner.optim_wrapper = object()                 # one that does not ask for the counts
    runner.train_dataloader = loader_of([9, 4])     # a sampler that does not ask for the epochs
    LongTailHook().before_train(runner)


@pytest.mark.parametrize('iteration, clock', [
    (0, Clock(0, 10, 0.0)), (5, Clock(0, 10, 0.05)), (99, Clock(9, 10, 0.99))])
def test_the_clock_is_the_share_of_all_iterations(iteration, clock):
    runner = SimpleNamespace(model=Model(), epoch=iteration // 10, iter=iteration, max_epochs=10,
                             max_iters=100)
    LongTailHook().before_train_iter(runner, batch_idx=iteration % 10)
    assert runner.model.clock == clock


def test_metrics_are_told_the_training_counts_beside_what_they_know():
    evaluator = SimpleNamespace(dataset_meta=dict(classes=['a', 'b'], class_counts=[50, 50]))
    loop = SimpleNamespace(evaluator=evaluator)
    runner = SimpleNamespace(model=Model([9, 4]), val_loop=loop, test_loop=loop)
    for event in (LongTailHook().before_val, LongTailHook().before_test):
        event(runner)
        assert evaluator.dataset_meta == dict(
            classes=['a', 'b'], class_counts=[50, 50], train_class_counts=[9, 4])
    assert len(runner.model.bound) == 2      # heads that adjust by the prior need it for testing


def test_a_model_without_counts_cannot_be_tested():
    loop = SimpleNamespace(evaluator=SimpleNamespace(dataset_meta=None))
    with pytest.raises(RuntimeError, match='carries no class counts.*init_from'):
        LongTailHook().before_test(SimpleNamespace(model=Model(), test_loop=loop))


# -- seeds ----------------------------------------------------------------------------------


def test_every_seed_epoch_and_rank_has_a_seed_of_its_own():
    seeds = [epoch_seed(seed, epoch, rank)
             for seed in range(10) for epoch in range(50) for rank in range(4)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2 ** 32 for seed in seeds)
    # Neighbours in one place are no neighbours in another.
    assert epoch_seed(0, 1, 0) != epoch_seed(1, 0, 0) != epoch_seed(0, 0, 1)


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_an_epoch_draws_the_same_numbers_whatever_was_drawn_before():
    hook, found = EpochSeedHook(), []
    for before in (0, 7):
        torch.manual_seed(before)
        draws()
        hook.before_train_epoch(SimpleNamespace(seed=3, epoch=5))
        found.append(draws())
    assert found[0] == found[1]
    hook.before_train_epoch(SimpleNamespace(seed=3, epoch=6))
    later = draws()
    assert all(a != b for a, b in zip(found[0], later))


def test_seeds_are_set_before_any_other_hook_draws():
    assert EpochSeedHook.priority == LongTailHook.priority == 'VERY_HIGH'


# -- plain checkpoints ----------------------------------------------------------------------


def stock_state():
    hub = dict(
        log_scalars={'train/loss': HistoryBuffer([1.0], [1])},
        runtime_info=collections.OrderedDict(
            cfg='model = dict()', epoch=3, keep_ckpt_ids=collections.deque(['epoch_2.pth']),
            best_score=np.float64(0.5), seed=0, names=('a', 'b'), nested={'x': [1, 2.0, None]},
            tensor=torch.zeros(2)),
        resumed_keys={})
    schedulers = [dict(milestones=collections.Counter([160, 180]), gamma=0.1, last_step=3)]
    return dict(message_hub=hub, param_schedulers=schedulers, state_dict=dict(w=torch.ones(2)))


def test_only_plain_values_of_the_hub_travel():
    checkpoint = stock_state()
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    assert checkpoint['message_hub'] == dict(epoch=3, seed=0, names=['a', 'b'],
                                             nested={'x': [1, 2.0, None]})
    assert checkpoint['param_schedulers'] == [dict(milestones={160: 1, 180: 1}, gamma=0.1,
                                                   last_step=3)]


def test_a_bare_load_reads_what_is_saved(tmp_path):
    checkpoint = stock_state()
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / 'epoch_3.pth')
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        assert torch.load(tmp_path / 'epoch_3.pth', weights_only=True)['message_hub']['epoch'] == 3
    finally:
        torch.serialization.add_safe_globals(allowed)


class Elsewhere(torch.Tensor):
    """A tensor of another device, as far as `.cpu()` goes."""

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_what_hooks_add_is_saved_from_the_cpu_and_not_taken_from_them():
    far = torch.ones(2).as_subclass(Elsewhere)
    live = dict(state={0: dict(exp_avg=far)})
    weights = collections.OrderedDict(w=far)
    weights._metadata = dict(version=1)
    checkpoint = dict(stock_state(), state_dict=weights,
                      swa=dict(count=2, average=[far, far]), meta_weight_net=live)
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    saved = [checkpoint['state_dict']['w'], *checkpoint['swa']['average'],
             checkpoint['meta_weight_net']['state'][0]['exp_avg']]
    assert [type(tensor) for tensor in saved] == [torch.Tensor] * 4
    assert checkpoint['swa']['count'] == 2
    assert checkpoint['state_dict']._metadata == dict(version=1)
    assert live['state'][0]['exp_avg'] is far      # the optimizer's own


@pytest.mark.parametrize(('entry', 'place'), [
    (collections.deque([1]), "checkpoint['mine'] is a collections.deque"),
    (dict(a=[np.int64(3), {1: collections.deque()}]),
     "checkpoint['mine']['a'][1][1] is a collections.deque"),
    ({SimpleNamespace: 1}, "a key of checkpoint['mine'] is a type"),
    (collections.defaultdict(int), "checkpoint['mine'] is a collections.defaultdict"),
    ((lambda: 0), "checkpoint['mine'] is a function")])
def test_what_a_checkpoint_could_not_be_read_with_is_refused_when_it_is_saved(entry, place):
    with pytest.raises(ValueError, match='must make it tensors, numbers, strings') as caught:
        PlainCheckpointHook().before_save_checkpoint(None, dict(stock_state(), mine=entry))
    assert str(caught.value).startswith(place + ', which `torch.load` would refuse')


def test_what_runs_put_into_checkpoints_is_accepted(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    states = []
    for name in ('SGD', 'AdamW', 'RMSprop', 'Adagrad'):
        optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)
        model(torch.rand(4, 2)).sum().backward()
        optimizer.step()
        states.append(optimizer.state_dict())
    wrapper = OptimWrapper(optimizer)
    schedulers = [LinearLR(wrapper, end=5), MultiStepLR(wrapper, [3]),
                  CosineAnnealingLR(wrapper, T_max=5), PolyLR(wrapper, end=5),
                  OneCycleLR(wrapper, eta_max=0.1, total_steps=5)]
    average = ExponentialMovingAverage(model)
    checkpoint = dict(
        stock_state(), state_dict=model.state_dict(), optimizer=wrapper.state_dict(),
        param_schedulers=[scheduler.state_dict() for scheduler in schedulers],
        ema_state_dict=average.state_dict(), others=states,
        swa=dict(count=1, average=list(model.parameters())),
        meta=dict(epoch=3, dataset_meta=dict(classes=('a', 'b'), class_counts=np.array([3, 1])),
                  score=np.float64(0.5), count=np.int64(3), flag=np.bool_(True)),
        rest=dict(size=torch.Size([2]), dtype=torch.float16, device=torch.device('cpu'),
                  counter=collections.Counter('aab'), raw=b'x',
                  history=HistoryBuffer([1.0], [1]), keys={(1, 2): 3}, draws=torch.get_rng_state()))
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / 'epoch_3.pth')
    assert load_from_disk(str(tmp_path / 'epoch_3.pth')).keys() == checkpoint.keys()


@pytest.mark.parametrize('value', [{'a', 'b'}, 1j])
def test_a_value_is_accepted_where_this_torch_reads_it(tmp_path, value):
    torch.save(value, tmp_path / 'value.pth')
    try:
        torch.load(tmp_path / 'value.pth', weights_only=True)
        expected = nullcontext()
    except pickle.UnpicklingError:          # as of torch 2.4
        expected = pytest.raises(ValueError, match='value.* is a (set|complex), which')
    with expected:
        PlainCheckpointHook().before_save_checkpoint(
            None, dict(stock_state(), rest=dict(value=value)))


def test_a_checkpoint_is_made_plain_after_other_hooks_have_added_to_it():
    class Late(Hook):
        priority = 'VERY_LOW'

    runner = SimpleNamespace(_hooks=[])
    for hook in (PlainCheckpointHook(), Late()):
        MMEngineRunner.register_hook(runner, hook)
    assert isinstance(runner._hooks[-1], PlainCheckpointHook)


def test_the_hub_comes_back_as_mmengine_wants_it():
    from mmengine.logging import MessageHub
    checkpoint = stock_state()
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    PlainCheckpointHook().after_load_checkpoint(None, checkpoint)
    hub = MessageHub.get_instance('a hub of test_core_hooks')
    hub.load_state_dict(checkpoint['message_hub'])
    assert hub.get_info('epoch') == 3 and hub.get_info('names') == ['a', 'b']
    stock = stock_state()
    PlainCheckpointHook().after_load_checkpoint(None, stock)     # one that mmengine wrote
    assert 'train/loss' in stock['message_hub']['log_scalars']


# -- the log --------------------------------------------------------------------------------


class Runner(SimpleNamespace):
    """As much of a runner as the log reads: two epochs of two iterations, validated at the end."""

    def __init__(self, work_dir, **more):
        loop = SimpleNamespace(max_epochs=2, val_begin=1, val_interval=2)
        super().__init__(
            work_dir=str(work_dir), epoch=0, iter=0, max_epochs=2, max_iters=4, train_loop=loop,
            val_loop=object(), visualizer=SimpleNamespace(add_scalars=lambda *a, **k: None),
            logger=SimpleNamespace(info=self.say), said=[],
            message_hub=SimpleNamespace(runtime_info={}),
            optim_wrapper=SimpleNamespace(get_lr=lambda: dict(lr=[0.1])), **more)

    def say(self, line):
        self.said.append(line)


def epoch_of(hook, runner, losses, metrics=None):
    hook.before_train_epoch(runner)
    for index, loss in enumerate(losses):
        hook.after_train_iter(runner, index, dict(labels=torch.zeros(8)),
                              dict(loss=torch.tensor(loss)))
    hook.after_train_epoch(runner)
    runner.epoch += 1
    if metrics is not None:
        hook.after_val_epoch(runner, metrics)


def entries_in(folder):
    return [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]


def test_an_epoch_is_one_object_and_one_line(tmp_path, capsys):
    hook, runner = TrainingLogHook(), Runner(tmp_path)
    hook.before_train(runner)
    epoch_of(hook, runner, [1.0, 3.0])
    epoch_of(hook, runner, [0.5, 0.5], dict(accuracy=71.23456, many=90.0, few=10.0, top5=99.0))
    first, second = entries_in(tmp_path)
    assert (first['epoch'], first['loss'], first['lr']) == (1, 2.0, 0.1) and 'val' not in first
    assert second['loss'] == 0.5
    assert second['val'] == dict(accuracy=71.2346, many=90.0, few=10.0, top5=99.0)
    assert len(runner.said) == 2 and capsys.readouterr().out.splitlines() == runner.said
    assert runner.said[0].startswith('epoch 1/2  loss  2.0000  lr 1.00e-01')
    assert runner.said[1].endswith('|  accuracy 71.23  many 90.00  few 10.00')


def test_images_of_all_processes_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr('ltcls.hooks.training_log.get_world_size', lambda: 4)
    hook, runner = TrainingLogHook(), Runner(tmp_path)
    hook.before_train(runner)
    epoch_of(hook, runner, [1.0, 3.0])
    assert hook.images == 4 * 16


def test_epochs_after_the_checkpoint_of_a_resumed_run_are_written_anew(tmp_path):
    lines = [dict(epoch=e, loss=float(e), lr=0.1, images_per_second=1, time=1) for e in (1, 2)]
    (tmp_path / 'log.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    hook, runner = TrainingLogHook(), Runner(tmp_path)
    runner.epoch = 1
    hook.before_train(runner)
    epoch_of(hook, runner, [7.0], dict(accuracy=50.0))
    assert [(e['epoch'], e['loss']) for e in entries_in(tmp_path)] == [(1, 1.0), (2, 7.0)]


def test_a_validation_without_training_is_not_an_epoch(tmp_path):
    hook, runner = TrainingLogHook(), Runner(tmp_path)
    hook.after_val_epoch(runner, dict(accuracy=50.0))
    assert not list(tmp_path.iterdir())


def test_an_epoch_without_batches_says_why(tmp_path):
    runner = Runner(tmp_path, train_dataloader=SimpleNamespace(batch_size=512))
    hook = TrainingLogHook()
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    with pytest.raises(RuntimeError, match='train_dataloader.batch_size=512 is larger than'):
        hook.after_train_epoch(runner)


def test_losses_stay_where_they_are_until_the_epoch_ends(tmp_path):
    # Reading one waits for the device; mmengine's own hook does so in every iteration.
    class Loss:
        reads = 0

        def detach(self):
            return self

        def __float__(self):
            Loss.reads += 1
            return 1.0

    hook, runner = TrainingLogHook(interval=50), Runner(tmp_path)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    for index in range(120):
        hook.after_train_iter(runner, index, dict(labels=torch.zeros(8)), dict(loss=Loss()))
    assert Loss.reads == 0
    hub = SimpleNamespace(update_info=lambda *a: None)
    QuietRuntimeInfoHook().after_train_iter(SimpleNamespace(message_hub=hub), 0, None,
                                            dict(loss=Loss()))
    assert Loss.reads == 0


def test_times_read_like_a_clock():
    assert [_clock(s) for s in (0, 59.9, 61, 3600, 7325)] == [
        '0:00', '0:59', '1:01', '1:00:00', '2:02:05']


def test_each_rank_draws_its_own_numbers(monkeypatch):
    drawn = []
    for rank in (0, 1, 0):
        monkeypatch.setattr('ltcls.hooks.epoch_seed.get_rank', lambda: rank)
        EpochSeedHook().before_train_epoch(SimpleNamespace(seed=3, epoch=5))
        drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[2] != drawn[1]


def averaged(rank: int) -> dict:
    norm = nn.BatchNorm1d(2)
    norm.running_mean.fill_(1.0 + 2 * rank)
    norm.running_var.fill_(2.0 + 4 * rank)
    head = CausalNormHead(2, 3)
    head.running_feature.fill_(4.0 + 2 * rank)
    model = nn.ModuleDict(dict(norm=norm, head=head))
    model.register_buffer('other', torch.full((2,), float(rank)))
    SyncStatisticsHook().after_train_epoch(SimpleNamespace(model=model))
    measured = nn.BatchNorm1d(2)
    measure_batch_norm(nn.Sequential(measured), [torch.full((2, 2), 1.0 + 2 * rank)])
    return dict(mean=norm.running_mean, var=norm.running_var, measured=measured.running_mean,
                feature=head.running_feature, other=model.other)


def test_running_statistics_become_their_averages_also_where_they_are_measured_anew(tmp_path):
    for found in on_two_ranks(averaged, tmp_path):
        assert torch.equal(found['mean'], torch.full((2,), 2.0))
        assert torch.equal(found['var'], torch.full((2,), 4.0))
        assert torch.equal(found['measured'], torch.full((2,), 2.0))
        assert torch.equal(found['feature'], torch.full((2,), 5.0))
        assert torch.equal(found['other'], torch.zeros(2))
