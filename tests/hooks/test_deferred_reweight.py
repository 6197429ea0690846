"""Class weights from an epoch on: their values, when they reach the model, and after a resume."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.testing import assert_close

from ltcls.hooks.deferred_reweight import DeferredReweightHook
from ltcls.longtail import exponential_counts

COUNTS = [100, 10, 1]


class Model(nn.Module):
    """What the hook sees of a classifier; `calls` are the weights it was given, in order."""

    def __init__(self, class_counts=COUNTS):
        super().__init__()
        self.register_buffer('class_counts', torch.tensor(class_counts, dtype=torch.float64))
        self.calls = []

    def set_class_weights(self, weights, mean='weighted'):
        self.calls.append((weights, mean))


class Log(list):
    warning = list.append


def runner_at(epoch, model, max_epochs=200):
    return SimpleNamespace(epoch=epoch, max_epochs=max_epochs, model=model, logger=Log())


def weights_of(class_counts=COUNTS, **kwargs):
    return DeferredReweightHook(**kwargs).class_weights(
        torch.tensor(class_counts, dtype=torch.float64))


@pytest.mark.parametrize('beta, expected', [
    (0.0, [1.0, 1.0, 1.0]),
    (0.9, [0.239329, 0.367442, 2.393229]),
    (0.99, [0.042237, 0.280044, 2.677719]),
    (0.9999, [0.027159, 0.270369, 2.702472]),
])
def test_weights_of_the_effective_number(beta, expected):
    expected = torch.tensor(expected, dtype=torch.float64)
    assert_close(weights_of(beta=beta), expected, rtol=0, atol=6e-7)


def test_weights_of_cifar10_at_factor_100():
    expected = [0.050611, 0.076900, 0.121134, 0.195037, 0.318805, 0.524590, 0.868349, 1.442627,
                2.409223, 3.992724]
    assert_close(weights_of(exponential_counts(5000, 10, 100), beta=0.9999),
                 torch.tensor(expected, dtype=torch.float64), rtol=0, atol=6e-7)


@pytest.mark.parametrize('exponent, shares', [
    (0.0, [1 / 3, 1 / 3, 1 / 3]),
    (1.0, [1 / 111, 10 / 111, 100 / 111]),
    (1.2, [0.003731, 0.059130, 0.937140]),
    (1.5, [0.000968, 0.030624, 0.968408]),
])
def test_weights_of_an_exponent_are_powers_of_the_inverse_prior(exponent, shares):
    expected = 3 * torch.tensor(shares, dtype=torch.float64)     # scaled to an average of one
    assert_close(weights_of(exponent=exponent), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize('kwargs', [dict(beta=0.9999), dict(exponent=1.5)])
def test_equal_counts_weigh_one(kwargs):
    assert_close(weights_of([7, 7, 7, 7], **kwargs), torch.ones(4, dtype=torch.float64))


def test_weights_begin_at_their_epoch():
    model, hook = Model(), DeferredReweightHook(begin=2, beta=0.9)
    for epoch in range(4):
        hook.before_train_epoch(runner_at(epoch, model))
    assert [weights is None for weights, _ in model.calls] == [True, True, False, False]
    weights, mean = model.calls[2]
    assert mean == 'weighted' and weights.dtype == torch.float32
    assert_close(weights, torch.tensor([0.239329, 0.367442, 2.393229]), rtol=0, atol=1e-6)


@pytest.mark.parametrize('epoch, weighted', [(159, False), (160, True), (183, True)])
def test_a_run_resumed_at_any_epoch_has_the_weights_of_that_epoch(epoch, weighted):
    model = Model()      # a new process: nothing was set before
    DeferredReweightHook(begin=160).before_train_epoch(runner_at(epoch, model))
    assert (model.calls[-1][0] is not None) == weighted


def test_the_mean_reaches_the_model():
    model = Model()
    DeferredReweightHook(mean='plain').before_train_epoch(runner_at(0, model))
    assert model.calls[0][1] == 'plain'


def test_the_model_inside_a_distributed_wrapper_gets_the_weights():
    model = Model()
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    DeferredReweightHook(exponent=1.0).before_train_epoch(runner_at(0, wrapper))
    assert_close(model.calls[0][0], torch.tensor([3 / 111, 30 / 111, 300 / 111]))


@pytest.mark.parametrize('kwargs', [dict(beta=0.9999), dict(exponent=1.2)])
def test_a_class_without_images_weighs_nothing_and_is_not_in_the_average(kwargs):
    found = weights_of([5, 0, 2, 0], **kwargs)
    assert_close(found[[0, 2]], weights_of([5, 2], **kwargs), rtol=0, atol=1e-12)
    assert found[1] == found[3] == 0


def test_a_class_without_images_is_told_before_training_and_does_not_stop_it():
    runner = runner_at(0, Model([5, 0, 2]))
    hook = DeferredReweightHook(begin=2)
    hook.before_train(runner)
    for runner.epoch in range(4):
        hook.before_train_epoch(runner)
    assert runner.logger == ['Classes [1] have no training images: DeferredReweightHook gives them '
                             'weight 0.']
    assert runner.model.calls[-1][0][1] == 0


def test_what_would_fail_at_its_epoch_fails_before_training():
    with pytest.raises(RuntimeError, match='no class counts.*LongTailHook'):
        DeferredReweightHook(begin=160).before_train(runner_at(0, Model([0, 0])))
    with pytest.raises(ValueError, match='exponent=400, with which'):
        DeferredReweightHook(begin=160, exponent=400).before_train(runner_at(0, Model()))


def test_a_begin_after_the_end_of_training_is_told():
    runner = runner_at(0, Model(), max_epochs=30)
    DeferredReweightHook(begin=29).before_train(runner)
    assert runner.logger == []
    DeferredReweightHook(begin=30).before_train(runner)
    assert 'no class weights will be used' in runner.logger[0]


@pytest.mark.parametrize('kwargs, message', [
    (dict(begin=-1), 'count from 0'),
    (dict(beta=1.0), 'must lie in'),
    (dict(mean='sum'), 'weighted, plain'),
])
def test_settings_that_cannot_be_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DeferredReweightHook(**kwargs)
