"""What a rehearsal changes in a config, and what the log says of frozen networks."""

import pytest
from torch import nn

from ltcls.engine.dry_run import shrink, without_weights
from ltcls.engine.prepare import Options, load_config
from ltcls.engine.stage import _trained_share
from ltcls.registry import HOOKS


def test_a_rehearsal_needs_no_weights_and_runs_a_large_transformer_at_a_small_size():
    cfg = load_config('gnm_vit_cifar100', Options())
    shrink(cfg)
    backbone = cfg.model.backbone
    assert (backbone.weights, backbone.depth, backbone.embed_dim) == (None, 2, 64)
    assert (backbone.num_prompts, backbone.pool) == (10, 'prompts')
    assert cfg.train_dataloader.dataset.size == 32 and cfg.train_dataloader.dataset.pipeline


def test_a_network_of_its_own_size_keeps_it_and_gets_images_to_match():
    cfg = load_config('gnm_vit_tiny50b', Options())
    shrink(cfg)
    assert (cfg.model.backbone.weights, cfg.model.backbone.depth) == (None, 4)
    assert cfg.train_dataloader.dataset.size == 32


def test_a_rehearsal_is_short_and_tries_what_begins_later():
    cfg = load_config('ldam-drw_resnet20_digits', Options(cfg_options={
        'train_dataloader.sampler': dict(type='ClassBalancedSampler', epoch_length='head')}))
    assert any(hook.get('begin') for hook in cfg.custom_hooks)
    assert cfg.train_cfg.val_interval > 1
    shrink(cfg)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (1, 1)
    assert [hook.begin for hook in cfg.custom_hooks if 'begin' in hook] == [0]
    assert cfg.train_dataloader.sampler == dict(type='ClassBalancedSampler')
    assert (cfg.train_dataloader.batch_size, cfg.train_dataloader.dataset.num_images) == (8, 16)


def test_a_rehearsal_of_a_schedule_that_begins_with_its_hook_has_a_rate():
    hook = dict(type='MetaReweightHook', begin=40, virtual_lr=[[40, 1e-3], [50, 1e-5]])
    cfg = load_config('meta_reweight_resnet20_digits', Options(cfg_options=dict(custom_hooks=[hook])))
    shrink(cfg)
    rehearsed = HOOKS.build(cfg.custom_hooks[0])
    assert (rehearsed.begin, rehearsed.virtual_step(0).lr) == (0, 1e-3)


@pytest.mark.parametrize(('backbone', 'expected'), [
    (dict(type='PromptedViT', name='vit_x', weights='timm'), dict(weights=None)),
    (dict(type='TimmBackbone', name='x', pretrained=True), dict(pretrained=False, checkpoint=None)),
    (dict(type='TorchvisionBackbone', name='x', weights='DEFAULT'), dict(load=False)),
    (dict(type='CIFARResNet', depth=20), {})])
def test_without_weights_only_their_loading_changes(backbone, expected):
    cfg = load_config('ce_resnet20_digits', Options())
    cfg.model.backbone = backbone
    assert without_weights(cfg).model.backbone == dict(backbone, **expected)
    assert cfg.model.backbone == backbone


def test_the_share_that_trains_is_said_where_a_part_does_not():
    model = nn.Sequential(nn.Linear(3, 1000), nn.Linear(999, 1))
    assert _trained_share(model) == []
    model[0].requires_grad_(False)
    assert _trained_share(model) == ['1,000 of 5,000 parameters train (20.00%)']
