"""Checkpoints of tensors, numbers and strings only."""

from collections import Counter, OrderedDict
from copy import copy

from mmengine.hooks import Hook
from torch import Tensor

from ltcls.registry import HOOKS

_PLAIN = (bool, int, float, str, type(None))


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Keeps the logger's history and devices out of checkpoints: `torch.load(path)` reads them.

    Of the message hub only plain values travel (the kept checkpoint ids and the like). The history
    of losses stands in log.jsonl. Tensors that hooks added lie on the CPU, as all others do.
    """

    priority = 'VERY_LOW'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        info = checkpoint['message_hub']['runtime_info']
        checkpoint['message_hub'] = {name: _plain(value) for name, value in info.items()
                                     if name != 'cfg' and _is_plain(value)}
        # MultiStepLR keeps its milestones in a Counter.
        for state in checkpoint.get('param_schedulers', []):
            state.update({name: dict(value) for name, value in state.items()
                          if isinstance(value, Counter)})
        for name, value in checkpoint.items():
            checkpoint[name] = _on_cpu(value)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        info = checkpoint.get('message_hub', {})
        if 'log_scalars' in info:      # a checkpoint that mmengine wrote by itself
            return
        checkpoint['message_hub'] = dict(
            log_scalars=OrderedDict(), runtime_info=OrderedDict(info),
            resumed_keys=OrderedDict((name, True) for name in info))


def _on_cpu(value):
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        moved = copy(value)       # another dict: this one may belong to an optimizer
        moved.update((key, _on_cpu(item)) for key, item in value.items())
        return moved
    return type(value)(map(_on_cpu, value)) if type(value) in (list, tuple) else value


def _is_plain(value) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, _PLAIN) and _is_plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return type(value) in _PLAIN


def _plain(value):
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
