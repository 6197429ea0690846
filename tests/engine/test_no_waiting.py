"""In an iteration the host never waits for the device.

Trained on the meta device, which has shapes and no values: what would read one back (`item`, a
condition, a boolean mask) raises, and copies from the host that do not say `non_blocking` are seen.
"""

import contextlib
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner import runner as mmengine_runner
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ltcls.engine import stage
from ltcls.engine.configs import config_names
from ltcls.engine.prepare import Options, load_config
from ltcls.engine.stage import build_runner, register_engine_hooks
from ltcls.registry import OPTIM_WRAPPERS

ITERATIONS = 3
NAMES = sorted(name for name in config_names() if name.endswith('_digits'))
ALL_AT_ONCE = {
    'optim_wrapper.clip_grad': dict(max_norm=1.0), 'optim_wrapper.accumulative_counts': 2,
    'model.precision': 'bfloat16', 'data_preprocessor.mixing': dict(type='CutMix'),
    'custom_hooks': [dict(type='DeferredReweightHook')], 'param_scheduler': [
        dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True)]}


class HostCopies(TorchDispatchMode):
    """Counts what is copied to the device while the host waits."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        blocks = not (kwargs or {}).get('non_blocking')
        if func is torch.ops.aten.copy_.default:
            target, source, blocks = args[0], args[1], blocks and not any(args[2:])
        elif func is torch.ops.aten._to_copy.default:
            target, source = out, args[0]
        else:
            return out
        if blocks and (source.device.type, target.device.type) == ('cpu', 'meta'):
            self.count += 1
        return out


class HostValues(TorchFunctionMode):
    """Counts the tensors that are made on the device of values of the host."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor):
            self.count += out.device.type == 'meta' and out is not args[0]
        return out


class Autocast(torch.autocast):
    """Of the CPU, where the meta device has none."""

    def __init__(self, device_type: str, *args, **kwargs):
        super().__init__('cpu' if device_type == 'meta' else device_type, *args, **kwargs)


class Enough(Exception):
    """The iterations are done."""


class Last(Hook):
    """Ends the training after a few iterations."""

    priority = 'VERY_LOW'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx + 1 == ITERATIONS:
            raise Enough


class MetaRunner(Runner):
    """Iterations on the meta device; what hooks prepare around them still has values."""

    def call_hook(self, fn_name: str, **kwargs) -> None:
        # In the first iteration optimizers and hooks make their state.
        if fn_name == 'before_train_iter' and kwargs['batch_idx'] == 1:
            self.watched.enter_context(self.copies)
            self.watched.enter_context(self.values)
        if fn_name.endswith('_iter'):
            super().call_hook(fn_name, **kwargs)
            return
        counts = self.train_dataloader.dataset.metainfo['class_counts']
        self.model.class_counts = torch.tensor(counts, dtype=torch.float64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nn.Module, 'to', lambda module, *args, **kwargs: module)
            super().call_hook(fn_name, **kwargs)
        for holder in [self, *self.hooks]:
            for name, value in list(vars(holder).items()):
                if isinstance(value, (torch.Tensor, nn.Module)):
                    setattr(holder, name, value.to('meta'))


def waits(monkeypatch, folder: Path, name: str, options: dict | None = None) -> int:
    """Iterations of a shipped config; how often the host waited for a copy to the device."""
    for module in (mmengine_runner, stage):
        monkeypatch.setattr(module, 'get_device', lambda: 'meta')
    monkeypatch.setattr(torch, 'autocast', Autocast)
    monkeypatch.setattr('ltcls.engine.stage._Runner', MetaRunner)
    options = Options(dry_run=True, work_dir=folder, seed=0, cfg_options=options or {})
    cfg = load_config(name, options)
    dataset = cfg.train_dataloader.dataset
    dataset.num_images = dataset.length = 20 * cfg.train_dataloader.batch_size
    for hook in cfg.get('custom_hooks', []):
        if 'begin' in hook:
            hook.begin = 0
    runner = build_runner(cfg)
    register_engine_hooks(runner, options)
    runner.register_hook(Last())
    runner.copies, runner.values = HostCopies(), HostValues()
    with contextlib.ExitStack() as runner.watched, pytest.raises(Enough):
        runner.train()
    return runner.copies.count + runner.values.count


def parts(content) -> set[str]:
    """All that is named by `type` in a config."""
    if isinstance(content, dict):
        found = {content['type']} if isinstance(content.get('type'), str) else set()
        return found.union(*(parts(value) for value in content.values()))
    if isinstance(content, (list, tuple)):
        return set().union(*(parts(value) for value in content))
    return set()


def different_parts() -> list[str]:
    """Shipped configs of the digits that train, one of each combination of parts."""
    seen = {}
    for name in NAMES:
        cfg = Config.fromfile(config_names()[name])
        if cfg.train_cfg.max_epochs:
            keys = ('model', 'data_preprocessor', 'optim_wrapper', 'custom_hooks')
            seen.setdefault(frozenset(parts({key: cfg.get(key) for key in keys})), name)
    return sorted(seen.values())


@pytest.mark.parametrize('name', different_parts())
def test_no_method_waits(name, tmp_path, monkeypatch):
    assert waits(monkeypatch, tmp_path, name) == 0


@pytest.mark.parametrize('wrapper', ['OptimWrapper', *sorted(OPTIM_WRAPPERS.module_dict)])
def test_no_wrapper_waits(wrapper, tmp_path, monkeypatch):
    options = {'optim_wrapper.type': wrapper, **ALL_AT_ONCE}
    assert waits(monkeypatch, tmp_path, 'vs_resnet20_digits', options) == 0


@pytest.mark.parametrize('mistake', [
    lambda labels: labels.float().mean().item(), lambda labels: bool(labels.sum() > 0),
    lambda labels: labels[labels > 0], lambda labels: labels.tolist(), lambda labels: labels.cpu()])
def test_what_reads_a_value_is_found(mistake, tmp_path, monkeypatch):
    monkeypatch.setattr('ltcls.losses.CrossEntropyLoss.forward',
                        lambda self, logits, labels: mistake(labels) or logits.sum(dim=1))
    with pytest.raises((RuntimeError, NotImplementedError), match='meta|nonzero'):
        waits(monkeypatch, tmp_path, 'ce_resnet20_digits')


@pytest.mark.parametrize('mistake', [
    lambda logits: torch.arange(5).to(logits.device), lambda logits: logits.new_tensor([0.5] * 5),
    lambda logits: torch.tensor([0.5] * 5, device=logits.device),
    lambda logits: logits[0].clone().copy_(torch.ones(10))])
def test_a_copy_that_is_waited_for_is_found(mistake, tmp_path, monkeypatch):
    monkeypatch.setattr('ltcls.losses.CrossEntropyLoss.forward',
                        lambda self, logits, labels: logits.sum(dim=1) + mistake(logits).sum())
    assert waits(monkeypatch, tmp_path, 'ce_resnet20_digits') == ITERATIONS - 1
