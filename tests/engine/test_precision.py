"""The precision switch, one for every method: bfloat16 with channels-last memory."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from ltcls.engine.prepare import Options, load_config
from ltcls.longtail import Clock, exponential_counts
from ltcls.registry import MODELS

METHODS = ['ce', 'ce-mixup', 'gcl', 'gcl-angular', 'gcl-crt', 'ldam-drw', 'lws', 'mislas', 'vs',
           'la', 'cb-focal', 'la-posthoc', 'tau-norm']
SWITCH = {'model.precision': 'bfloat16', 'model.channels_last': True, 'model.backbone.depth': 8}


def trained(method, **cfg_options):
    """The model of a shipped config after three steps on the same images, and its losses."""
    torch.manual_seed(0)
    init_default_scope('ltcls')
    cfg = load_config(f'{method}_resnet20_digits', Options(cfg_options=cfg_options))
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.bind(exponential_counts(128, 10, 50))
    model.set_class_weights(torch.linspace(0.5, 1.5, 10))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    images = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(16) % 10
    losses = []
    for step in range(3):
        model.train()
        model.set_clock(Clock(0, 1, step / 3))
        if any(p.requires_grad for p in model.parameters()):
            losses.append(model.train_step(dict(inputs=images, labels=labels), wrapper)['loss'])
    model.eval()
    [found] = model.test_step(dict(inputs=images, labels=labels))
    return model, losses, found['scores']


@pytest.mark.parametrize('method', METHODS)
def test_a_method_trains_and_tests_in_bfloat16_with_float32_parameters(method):
    model, losses, scores = trained(method, **SWITCH)
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses)
    assert all(value.dtype in (torch.float32, torch.float64, torch.int64)
               for value in model.state_dict().values())
    assert scores.dtype == torch.float32 and bool(scores.isfinite().all())
    weights = [p for p in model.backbone.parameters() if p.dim() == 4 and p.size(1) > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_the_first_loss_is_that_of_float32_to_the_precision_of_bfloat16():
    _, rounded, _ = trained('ce', **SWITCH)
    _, exact, _ = trained('ce', **{'model.backbone.depth': 8})
    torch.testing.assert_close(rounded[0], exact[0], rtol=2e-2, atol=2e-2)
    assert not torch.equal(rounded[0], exact[0])
