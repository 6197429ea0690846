"""Checkpoints of tensors, numbers and strings only."""

import io
from collections import Counter, OrderedDict
from copy import copy
from typing import Any, Iterator

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from ltcls.registry import HOOKS

_PLAIN = (bool, int, float, str, type(None))


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Keeps the logger's history and devices out of checkpoints: `torch.load(path)` reads them.

    Of the message hub only plain values travel (the kept checkpoint ids and the like). The history
    of losses stands in log.jsonl. Tensors that hooks added lie on the CPU, as all others do.

    Raises:
        ValueError: something that could not be read again, found when it is to be saved.
    """

    priority = 'LOWEST'       # after the hooks that add something

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        info = checkpoint['message_hub']['runtime_info']
        checkpoint['message_hub'] = {name: _plain(value) for name, value in info.items()
                                     if name != 'cfg' and _is_plain(value)}
        # MultiStepLR keeps its milestones in a Counter, OneCycleLR a function that it has anyway.
        for state in checkpoint.get('param_schedulers', []):
            state.pop('anneal_func', None)
            state.update({name: dict(value) for name, value in state.items()
                          if isinstance(value, Counter)})
        for name, value in checkpoint.items():
            checkpoint[name] = _on_cpu(value)
        odd = list(_odd(checkpoint, 'checkpoint'))
        if not _is_readable([value for _, value in odd]):
            _name_unreadable(odd)

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


def _odd(value, place: str) -> Iterator[tuple[str, Any]]:
    """Place and value of all that is not of the types which `torch.load` is known to read."""
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            yield from _odd(key, f'a key of {place}')
            yield from _odd(item, f'{place}[{key!r}]')
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            yield from _odd(item, f'{place}[{index}]')
    elif type(value) in (Tensor, nn.Parameter):
        if vars(value):           # they are saved with it
            yield place, value
    elif type(value) not in _PLAIN:
        yield place, value


def _is_readable(value) -> bool:
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception:             # torch and pickle raise many kinds
        return False
    return True


def _name_unreadable(odd: list[tuple[str, Any]]) -> None:
    for place, value in odd:
        if not _is_readable(value):
            kind = f'{type(value).__module__}.{type(value).__qualname__}'.removeprefix('builtins.')
            raise ValueError(f'{place} is a {kind}, which `torch.load` would refuse: the hook that '
                             'adds it must make it tensors, numbers, strings, lists, tuples, dicts '
                             'or None in before_save_checkpoint.')


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
