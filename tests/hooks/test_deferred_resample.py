"""Another sampler from an epoch on, in mmengine's own training loop, also after a resume."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import DistSamplerSeedHook
from mmengine.runner import EpochBasedTrainLoop
from mmengine.runner.priority import get_priority
from torch.utils.data import DataLoader

from ltcls.hooks.deferred_resample import DeferredResampleHook
from ltcls.samplers import ClassBalancedSampler, ProgressiveSampler

BALANCED = dict(type='ClassBalancedSampler')


class Indices:
    """A data set whose images are their own indices."""

    def __init__(self, class_counts=(16, 4)):
        self.labels = torch.arange(len(class_counts)).repeat_interleave(torch.tensor(class_counts))
        self.metainfo = dict(classes=['many', 'few'], class_counts=list(class_counts))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return index


class Log(list):
    warning = list.append


class Runner:
    """As much of mmengine's runner as the training loop touches; `epochs` are the drawn indices."""

    def __init__(self, *hooks, start=0, max_epochs=4, **loader):
        self.hooks = sorted([*hooks, DistSamplerSeedHook()], key=lambda h: get_priority(h.priority))
        self.logger, self.visualizer = Log(), SimpleNamespace()
        self.model, self.optim_wrapper, self.val_loop = self, None, None
        dataset = Indices()
        loader.setdefault('sampler', DefaultSampler(dataset, seed=7))
        loader.setdefault('batch_size', 5)
        self.train_loop = EpochBasedTrainLoop(self, DataLoader(dataset, **loader), max_epochs)
        self.train_loop._epoch = start      # what mmengine's resume sets
        self.max_epochs = max_epochs
        self.epochs = {}

    epoch = property(lambda self: self.train_loop.epoch)
    train_dataloader = property(lambda self: self.train_loop.dataloader)

    def call_hook(self, name, **kwargs):
        for hook in self.hooks:
            getattr(hook, name)(self, **kwargs)

    def train(self):
        pass

    def train_step(self, batch, optim_wrapper):
        self.epochs.setdefault(self.epoch, []).extend(batch.tolist())

    def run(self):
        self.train_loop.run()
        return self.epochs


def drawn(sampler_class, epoch, **kwargs):
    sampler = sampler_class(Indices(), seed=7, **kwargs)
    sampler.set_epoch(epoch)
    return list(sampler)


EXPECTED = {
    0: drawn(DefaultSampler, 0),
    1: drawn(DefaultSampler, 1),
    2: drawn(ClassBalancedSampler, 2),
    3: drawn(ClassBalancedSampler, 3),
}


def test_from_its_epoch_on_the_other_sampler_draws():
    assert Runner(DeferredResampleHook(begin=2, sampler=BALANCED)).run() == EXPECTED


@pytest.mark.parametrize('start', [1, 2, 3])
def test_a_resumed_run_draws_what_the_uninterrupted_one_drew(start):
    runner = Runner(DeferredResampleHook(begin=2, sampler=BALANCED), start=start)
    assert runner.run() == {epoch: EXPECTED[epoch] for epoch in range(start, 4)}


def test_workers_that_stay_alive_follow_the_exchange():
    hook = DeferredResampleHook(begin=2, sampler=BALANCED)
    assert Runner(hook, num_workers=1, persistent_workers=True).run() == EXPECTED


def test_begin_zero_replaces_the_sampler_altogether():
    epochs = Runner(DeferredResampleHook(begin=0, sampler=BALANCED), max_epochs=2).run()
    assert epochs == {epoch: drawn(ClassBalancedSampler, epoch) for epoch in (0, 1)}


def test_the_other_sampler_learns_the_number_of_epochs():
    sampler = dict(type='ProgressiveSampler', form='t/T')
    epochs = Runner(DeferredResampleHook(begin=3, sampler=sampler)).run()
    assert epochs[3] == drawn(ProgressiveSampler, 3, form='t/T', max_epochs=4)


def test_the_config_of_the_hook_is_left_as_it_was():
    config = dict(type='ClassAwareSampler', images_per_turn=2)
    hook = DeferredResampleHook(begin=1, sampler=config)
    assert Runner(hook, max_epochs=2).run() == Runner(hook, max_epochs=2).run()
    assert config == dict(type='ClassAwareSampler', images_per_turn=2)


def test_a_sampler_of_another_length_is_refused_before_training():
    sampler = dict(type='ClassBalancedSampler', epoch_length='head')
    runner = Runner(DeferredResampleHook(begin=2, sampler=sampler))
    with pytest.raises(ValueError, match='draws 32 images an epoch where DefaultSampler draws 20'):
        runner.run()
    assert runner.epochs == {}


def test_a_loader_without_batches_is_refused():
    with pytest.raises(ValueError, match='batch_size'):
        Runner(DeferredResampleHook(begin=2, sampler=BALANCED), batch_size=None).run()


def test_a_begin_after_the_end_of_training_is_told():
    runner = Runner(DeferredResampleHook(begin=4, sampler=BALANCED))
    assert runner.run()[3] == drawn(DefaultSampler, 3)
    assert 'ClassBalancedSampler will not be used' in runner.logger[0]


@pytest.mark.parametrize('kwargs, message', [
    (dict(begin=-1, sampler=BALANCED), 'count from 0'),
    (dict(begin=1, sampler='ClassBalancedSampler'), 'needs a config'),
    (dict(begin=1, sampler=dict(beta=0.9)), 'needs a config'),
])
def test_settings_that_cannot_be_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DeferredResampleHook(**kwargs)
