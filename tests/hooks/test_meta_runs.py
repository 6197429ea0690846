"""Learned sample weights in whole runs: begin, log, resuming; and development batches."""

import json
import random
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ltcls.datasets import DigitsLT
from ltcls.datasets.loading import collate_batch
from ltcls.engine.prepare import Options, load_config
from ltcls.engine.stage import build_runner
from ltcls.hooks import (DeferredReweightHook, L2RWHook, MetaReweightHook, MetaWeightNetHook,
                         dev_batches)
from ltcls.hooks.dev_batches import DevBatches, balanced_indices

CONFIG = '''
_base_ = 'ltcls::ce/ce_resnet20_digits.py'
model = dict(backbone=dict(depth=8))
train_dataloader = dict(dataset=dict(held_out=3, imbalance=20))
param_scheduler = [dict(type='LinearLR', start_factor=0.2, end=2)]
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
custom_hooks = [{hook}]
train_cfg = dict(max_epochs=3, val_interval=10)
'''
META = "dict(type='MetaReweightHook', begin=1, beta=0.99, dev_batch_size=16, log_interval=4)"
NET = "dict(type='MetaWeightNetHook', begin=1, dev_batch_size=16)"


class Stop(Exception):
    pass


def train(folder, hook='', stop_after=None, resume=None):
    """Train the config with a hook; the runner. `stop_after` epochs it is interrupted."""
    folder.mkdir(exist_ok=True)
    path = folder / 'run_resnet8_digits.py'
    path.write_text(CONFIG.format(hook=hook))
    cfg = load_config(path, Options(work_dir=folder / 'run'))
    if resume:
        cfg.load_from, cfg.resume = str(folder / 'run' / f'epoch_{resume}.pth'), True
    runner = build_runner(cfg)
    if stop_after is not None:
        saved = runner.call_hook

        def call(event, **kwargs):
            if event == 'before_train_iter' and (runner.epoch, kwargs['batch_idx']) == (
                    stop_after, 2):
                raise Stop
            saved(event, **kwargs)
        runner.call_hook = call
        with pytest.raises(Stop):
            runner.train()
    else:
        runner.train()
    return runner


def weights_at(folder, epoch):
    return torch.load(folder / 'run' / f'epoch_{epoch}.pth', weights_only=True)


def log(folder):
    return [json.loads(line) for line in (folder / 'run' / 'weights.jsonl').read_text().split('\n')
            if line]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('meta')
    train(folder, META)
    return folder


def test_until_its_first_epoch_the_run_is_the_plain_one(undisturbed, tmp_path):
    train(tmp_path)
    states = [[weights_at(folder, epoch)['state_dict'] for folder in (undisturbed, tmp_path)]
              for epoch in (1, 2)]
    assert equal(*states[0]) and not equal(*states[1])


def test_the_log_has_the_size_of_eps_beside_the_class_weights(undisturbed):
    lines = log(undisturbed)
    assert [line['epoch'] for line in lines] == sorted([2] * (len(lines) // 2)
                                                       + [3] * (len(lines) // 2))
    per_epoch = lines[-1]['iteration'] // 3
    # Every four iterations, and what is left at the end of the epoch.
    steps = [*range(4, per_epoch + 1, 4)] + [per_epoch] * (per_epoch % 4 > 0)
    assert [line['iteration'] for line in lines] == [e * per_epoch + s for e in (1, 2)
                                                     for s in steps]
    for line in lines:
        assert set(line) == {'epoch', 'iteration', 'eps', 'class_weight', 'weight', 'negative',
                             'dev_loss'}
        assert 0 < line['dev_loss'] < 10
        assert 0 < line['eps'] and 0 <= line['negative'] <= 1
        assert abs(line['weight'] - line['class_weight']) <= line['eps'] + 1e-6


class Seen(Hook):
    """Keeps what the steps are given: images after augmentation, and their masks of dropout."""

    def __init__(self, model):
        self.images, self.masks = [], []
        model.backbone.register_forward_hook(self._drop)

    def _drop(self, backbone, inputs, features):
        return F.dropout(features, 0.5, training=backbone.training)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if 'prepared' in data_batch:
            self.images.append(data_batch['prepared']['inputs'].clone())
        self.masks.append(torch.get_rng_state())


@pytest.mark.parametrize('hook', [META, META.replace('16,', '16, share_forward=False,'),
                                  "dict(type='L2RWHook', begin=1, dev_batch_size=16)"])
def test_learning_draws_what_the_run_without_it_draws(hook, tmp_path):
    # So that the difference of both runs is what is learned, and not other crops.
    seen = []
    for name, text in (('learned', hook), ('control', META.replace('begin=1', 'begin=1, tau=0'))):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / 'run_resnet8_digits.py'
        path.write_text(CONFIG.format(hook=text) + "data_preprocessor = dict(augment=["
                        "dict(type='PadCropFlip', padding=2)])\n")
        runner = build_runner(load_config(path, Options(work_dir=folder / 'run', seed=3)))
        seen.append(Seen(runner.model))
        runner.register_hook(seen[-1])
        runner.train()
    learned, control = seen
    assert len(learned.images) == len(control.images) > 10
    assert all(map(torch.equal, learned.images, control.images))
    assert all(map(torch.equal, learned.masks, control.masks))


@pytest.mark.parametrize('hook', [META, NET], ids=['meta_reweight', 'meta_weight_net'])
def test_an_interrupted_run_ends_like_an_undisturbed_one(hook, undisturbed, tmp_path):
    whole = undisturbed if hook == META else tmp_path / 'whole'
    if hook != META:
        train(whole, hook)
    broken = tmp_path / 'broken'
    train(broken, hook, stop_after=2)
    train(broken, hook, resume=2)
    states = [weights_at(folder, 3) for folder in (whole, broken)]
    assert equal(*(state['state_dict'] for state in states))
    assert log(whole) == log(broken)
    if hook == NET:
        assert equal(*(state['meta_weight_net']['net'] for state in states))
        adam = [state['meta_weight_net']['optimizer']['state'] for state in states]
        assert all(equal(adam[0][index], adam[1][index]) for index in adam[0])
        start = weights_at(whole, 1)['meta_weight_net']['net']
        assert not equal(start, states[0]['meta_weight_net']['net'])


def test_a_resumed_log_keeps_what_came_before_the_checkpoint_and_whole_lines(tmp_path):
    path = tmp_path / 'weights.jsonl'
    path.write_text('{"iteration": 4}\n{"iter\n{"iteration": 8}\n{"iteration": 12}\n{"itera')
    L2RWHook()._open_log(path, iteration=8)
    assert path.read_text() == '{"iteration": 4}\n{"iteration": 8}\n'


# -- development batches --------------------------------------------------------------------

DIGITS = dict(type='DigitsLT', imbalance=20, held_out=3)


def digits(held_out=3):
    return DataLoader(DigitsLT(imbalance=20, held_out=held_out), batch_size=16,
                      collate_fn=collate_batch)


def take(batches, count):
    return [next(batches)['labels'] for _ in range(count)]


def test_development_batches_are_rounds_through_the_held_out_images():
    dev = DevBatches(digits(), DIGITS, batch_size=10)
    assert len(dev.indices) == 30
    for batches in (dev.epoch(0), dev.epoch(1)):
        for _ in range(2):
            labels = torch.cat(take(batches, 3))
            assert torch.equal(labels.bincount(), torch.full((10,), 3))
    assert DevBatches(digits(), DIGITS, batch_size=100).batch_size == 30


def test_an_epoch_has_its_own_batches_and_always_the_same():
    draws = torch.get_rng_state()
    first, again, later, other = (
        torch.cat(take(DevBatches(digits(), DIGITS, 7, seed=seed).epoch(epoch), 9))
        for seed, epoch in ((0, 4), (0, 4), (0, 5), (1, 4)))
    assert torch.equal(first, again)
    assert not torch.equal(first, later) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), draws)


class Drawing(Dataset):
    """Images whose transforms draw from all three generators of the process."""

    labels = [0] * 8

    def __init__(self, split='train'):
        self.split = split

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return dict(inputs=torch.rand(2), labels=0, python=random.random(),
                    numpy=float(np.random.rand()))


def drawn(rank, monkeypatch):
    monkeypatch.setattr(dev_batches, 'get_rank', lambda: rank)
    loader = DataLoader(Drawing(), batch_size=4)
    batches = DevBatches(loader, dict(type=Drawing), 4).epoch(3)
    found = [next(batches) for _ in range(3)]
    return [torch.cat([batch[name].flatten().double() for batch in found])
            for name in ('inputs', 'python', 'numpy')]


def test_transforms_of_development_images_leave_the_generators_alone(monkeypatch):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    first = drawn(0, monkeypatch)
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])
    torch.manual_seed(99)
    again, other = drawn(0, monkeypatch), drawn(1, monkeypatch)
    for one, two, three in zip(first, again, other):
        assert torch.equal(one, two) and len(one.unique()) == len(one)
        assert not torch.isin(one, three).any()


def test_ranks_have_the_parts_of_one_batch(monkeypatch):
    whole = take(DevBatches(digits(), DIGITS, 6).epoch(2), 4)
    monkeypatch.setattr(dev_batches, 'get_world_size', lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(dev_batches, 'get_rank', lambda: rank)
        parts.append(take(DevBatches(digits(), DIGITS, 3).epoch(2), 4))
    for together, left, right in zip(whole, *parts):
        assert torch.equal(torch.stack([left, right], dim=1).flatten(), together)


def test_images_of_the_training_set_can_serve_and_stay_in_it():
    loader = digits(held_out=0)
    dev = DevBatches(loader, DIGITS, batch_size=40, from_train=4)
    labels = next(dev.epoch(0))['labels']
    assert torch.equal(labels.bincount(), torch.full((10,), 4)) and dev.dataset is loader.dataset


def test_a_small_class_gives_its_images_several_times():
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    chosen = balanced_indices(labels, 3, torch.Generator().manual_seed(0))
    assert torch.equal(labels[chosen], torch.tensor([0, 0, 0, 1, 1, 1]))
    assert len(set(chosen[:3].tolist())) == 3 and set(chosen[3:].tolist()) == {4, 5}


@pytest.mark.parametrize('from_train', [None, 2])
@pytest.mark.parametrize('augment', [True, False])
def test_without_augmentation_images_are_read_as_in_validation(augment, from_train, tmp_path):
    path = tmp_path / 'run_resnet8_digits.py'
    path.write_text(CONFIG.format(hook='')
                    + "train_dataloader['dataset']['pipeline'] = [dict(type='RandomInvert')]")
    runner = build_runner(load_config(path, Options(work_dir=tmp_path / 'run')))
    assert runner.train_loop and runner.val_loop        # builds them
    runner.model.class_counts.fill_(1)
    hook = L2RWHook(dev_augment=augment, dev_from_train=from_train)
    hook.before_train(runner)
    assert (hook.dev.dataset.pipeline is None) is not augment
    assert runner.train_dataloader.dataset.pipeline is not None


# -- what is refused before training --------------------------------------------------------

def runner_of(tmp_path, model, max_epochs=30, hooks=()):
    model.register_buffer('class_counts', torch.ones(3))
    messages = []
    return SimpleNamespace(
        model=model, max_epochs=max_epochs, hooks=hooks, work_dir=tmp_path, iter=0, messages=messages,
        logger=SimpleNamespace(warning=messages.append))


@pytest.mark.parametrize('change, message', [
    (dict(norm=nn.SyncBatchNorm(3)), 'L2RWHook differentiates forward, which SyncBatchNorm'),
    (dict(captured=True), 'which a compiled backbone cannot'),
    (dict(dtype=torch.float16), "use precision='float32'"),
])
def test_models_that_cannot_be_differentiated_forward_are_refused(change, message, tmp_path):
    model = nn.Module()
    for name, value in change.items():
        setattr(model, name, value)
    with pytest.raises(ValueError, match=message):
        L2RWHook(precision='model').before_train(runner_of(tmp_path, model))


def test_a_part_to_recompute_that_the_model_lacks_is_refused(tmp_path):
    model = nn.Sequential(OrderedDict(backbone=nn.Sequential(OrderedDict(layer1=nn.Linear(2, 2)))))
    model.captured, model.dtype = False, None
    message = "recompute='layer1', a part that the model does not have; it has backbone, backbone.l"
    with pytest.raises(ValueError, match=message):
        L2RWHook(recompute=['layer1']).before_train(runner_of(tmp_path, model))


@pytest.mark.parametrize('other', [DeferredReweightHook(begin=20), MetaReweightHook(begin=0)])
def test_a_second_hook_that_sets_weights_is_refused_before_it_begins(other, tmp_path):
    hook = L2RWHook(begin=10)
    with pytest.raises(ValueError, match=f'L2RWHook sets all weights, and {type(other).__name__} '):
        hook.before_train(runner_of(tmp_path, nn.Module(), hooks=[hook, other]))


@pytest.mark.parametrize('hook', [MetaReweightHook(begin=30), MetaWeightNetHook(begin=30)])
def test_a_begin_after_the_end_of_training_is_told(hook, tmp_path):
    runner = runner_of(tmp_path, nn.Module())
    hook.before_train(runner)
    assert 'no sample weights will be used' in runner.messages[0]
