"""The options of the hooks for learned sample weights, and what each of them reaches."""

from types import SimpleNamespace

import pytest
import torch
from meta_toys import classifier, run
from mmengine.optim import OptimWrapper
from torch import nn
from torch.testing import assert_close

from ltcls.hooks import L2RWHook, MetaReweightHook, MetaWeightNetHook, sample_weights
from ltcls.hooks.meta_gradient import MetaGradient, VirtualStep
from ltcls.hooks.meta_reweight import balancing_weights


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize('options', [dict(dev_loss='same'), dict(batch_norm='running'),
                                     dict(precision='model'), dict(recompute=('backbone',))])
def test_options_of_the_hook_reach_the_problem(options, monkeypatch):
    seen = []

    class Watched(MetaGradient):
        def __init__(self, *arguments, **given):
            seen.append(given)
            super().__init__(*arguments, **given)

    monkeypatch.setattr(sample_weights, 'MetaGradient', Watched)
    model = classifier()
    run(MetaReweightHook(begin=0, **options), model, OptimWrapper(sgd(model)))
    assert options.items() <= seen[0].items()


class Sevens(nn.Module):
    """An augmentation after which every pixel is 7."""

    def forward(self, images):
        return torch.full_like(images, 7)


@pytest.mark.parametrize('augment', [True, False])
def test_development_images_are_augmented_on_request(augment):
    model, seen = classifier(), []
    model.data_preprocessor.augment.append(Sevens())
    model.register_forward_pre_hook(
        lambda model, arguments, given: seen.append(given['inputs']), with_kwargs=True)
    run(MetaReweightHook(begin=0, dev_augment=augment), model, OptimWrapper(sgd(model)))
    as_they_are = [inputs for inputs in seen if inputs.std() > 0]
    assert len(as_they_are) == (0 if augment else 1)


@pytest.mark.parametrize(('options', 'expected'), [
    (dict(class_weights=False), torch.ones(4)),
    (dict(scale_class_weights=False),
     balancing_weights([40, 20, 10, 5], 0.9999, scale=False).float())], ids=['none', 'unscaled'])
def test_class_weights_are_left_out_or_unscaled_on_request(options, expected):
    model, hook = classifier(), MetaReweightHook(**options)
    hook.prepare(model, sgd(model))
    assert_close(hook.by_class, expected)


def test_rule_and_rate_reach_the_virtual_step():
    rule = MetaReweightHook(virtual_step='optimizer').virtual_step(0)
    assert rule == VirtualStep(rule='optimizer')
    assert MetaWeightNetHook(virtual_lr=0.3).virtual_step(0) == VirtualStep('mean', 0.3)


def test_development_batches_follow_the_options_and_the_seed(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(sample_weights, 'DevBatches', lambda *a, **k: seen.append((a, k)))
    loader, dataset = SimpleNamespace(sampler=SimpleNamespace(seed=7)), dict(type='x')
    L2RWHook(dev_batch_size=9, dev_from_train=3).before_train(SimpleNamespace(
        model=classifier(), max_epochs=2, hooks=[], work_dir=tmp_path, iter=0,
        train_loop=SimpleNamespace(dataloader=loader),
        optim_wrapper=SimpleNamespace(optimizer=None),
        cfg=SimpleNamespace(train_dataloader=SimpleNamespace(dataset=dataset))))
    assert seen == [((loader, dataset, 9, 3), dict(seed=7))]
