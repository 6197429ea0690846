"""The learning rates of the shipped schedules, epoch by epoch."""

import math

import pytest
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from torch import nn

from ltcls.engine.prepare import Options, load_config
from ltcls.registry import MODELS


def rates(config: str, model: nn.Module | None = None) -> list[list[float]]:
    """The learning rate of every parameter group in every epoch of a config's training."""
    cfg = load_config(config, Options())
    wrapper = build_optim_wrapper(model or nn.Linear(1, 1), cfg.optim_wrapper)
    schedulers = [PARAM_SCHEDULERS.build(dict(scheduler, optimizer=wrapper))
                  for scheduler in cfg.param_scheduler]
    found = []
    for _ in range(cfg.train_cfg.max_epochs):
        found.append([group['lr'] for group in wrapper.optimizer.param_groups])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


def build(config: str) -> tuple[dict, nn.Module]:
    """A config and its model."""
    init_default_scope('ltcls')
    cfg = load_config(config, Options())
    return cfg, MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))


def rate(config: str) -> list[float]:
    return [groups[0] for groups in rates(config)]


def at(found: list[float], *epochs: int) -> list[float]:
    return [found[epoch] for epoch in epochs]


def test_the_gcl_schedule_falls_to_a_tenth_twice():
    found = rate('ce_resnet32_cifar10')
    assert len(found) == 200
    assert at(found, 0, 1, 2, 3, 4, 5, 159, 160, 179, 180, 199) == pytest.approx(
        [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_the_steep_schedule_falls_to_a_hundredth_twice():
    found = rate('ldam-drw_resnet32_cifar100')
    assert len(found) == 200
    assert at(found, 0, 4, 159, 160, 179, 180, 199) == pytest.approx(
        [0.02, 0.1, 0.1, 1e-3, 1e-3, 1e-5, 1e-5])


@pytest.mark.parametrize('config', ['gcl-crt_resnet32_cifar10', 'gcl-crt-cb_resnet32_cifar100',
                                    'gcl-lws_resnet32_cifar10', 'ce-mixup-crt_resnet32_cifar10'])
def test_stage_two_of_gcl_is_a_cosine_from_0_002_over_30_epochs(config):
    found = rate(config)
    assert found == pytest.approx([0.001 * (1 + math.cos(math.pi * e / 30)) for e in range(30)])
    assert at(found, 0, 15, 29) == pytest.approx([0.002, 0.001, 5.4781e-6], rel=1e-4)


def test_classifier_retraining_warms_up_and_steps_at_10_and_20():
    found = rate('crt_resnet32_cifar10')
    assert len(found) == 30
    assert at(found, 0, 4, 9, 10, 19, 20, 29) == pytest.approx(
        [0.02, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize('config, factor', [
    ('mislas_resnet32_cifar10', 0.5), ('mislas_resnet32_cifar10-if200', 0.5),
    ('mislas_resnet32_cifar10-if50', 0.2), ('mislas_resnet32_cifar10-if10', 0.2),
    ('mislas_resnet32_cifar100', 0.2), ('mislas_resnet32_cifar100-if50', 0.1),
    ('mislas_resnet32_cifar100-if10', 0.1)])
def test_stage_two_of_mislas_slows_the_classifier_but_not_its_scales(config, factor):
    _, model = build(config)
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    assert names == ['head.weight', 'head.bias', 'head.scales']
    found = rates(config, model)
    assert len(found) == 10
    scales = [groups[2] for groups in found]
    assert at(scales, 0, 5, 9) == pytest.approx([0.1, 0.05, 0.002447], rel=1e-3)
    for groups in found:
        assert groups == pytest.approx([factor * groups[2], factor * groups[2], groups[2]])


def test_the_bias_of_a_sigmoid_loss_is_not_decayed():
    cfg, model = build('focal_resnet32_cifar10')
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    decays = {id(p): group['weight_decay'] for group in wrapper.param_groups
              for p in group['params']}
    for name, value in model.named_parameters():
        assert decays[id(value)] == (0 if name == 'head.bias' else 2e-4), name


def test_prompt_tuning_is_a_cosine_from_0_005_over_70_epochs():
    # The authors' code takes these values an epoch later each, and the first one twice.
    found = rate('gcl-drw_vit_cifar100')
    assert len(found) == 70
    assert at(found, 0, 1, 34, 68) == pytest.approx(
        [0.005, 0.004997482666, 0.002612162076, 1.006426501e-5], rel=1e-8)
