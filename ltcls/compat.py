"""What today's PyTorch and Python break in mmengine, mended in one place, when ltcls is imported.

Each patch is small and is applied only where the fault is present.
"""

import functools
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

with warnings.catch_warnings(record=True):
    # torch 2.4 warns of its own use of TorchScript, whatever the filters; mmengine imports this.
    import torch.distributed.optim  # noqa: F401

from mmengine.device import utils as mmengine_device  # noqa: E402
from mmengine.dist import is_main_process  # noqa: E402
from mmengine.logging import HistoryBuffer  # noqa: E402
from mmengine.model import convert_sync_batchnorm as mmengine_sync_batchnorm  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from mmengine.runner import checkpoint as mmengine_checkpoint  # noqa: E402
from mmengine.runner import runner as mmengine_runner  # noqa: E402
from mmengine.runner.checkpoint import CheckpointLoader  # noqa: E402

from ltcls.compat_config import apply_config_patches  # noqa: E402


def _history_method(obj, name: str):
    """The only attribute look-ups that a checkpoint may ask for.

    mmengine pickles HistoryBuffer's table of methods through `getattr`; the real `getattr` on the
    allow-list would let a file reach any attribute of any allowed object.
    """
    if obj is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(obj, name)
    raise ValueError(f'refused attribute {name!r} in a checkpoint')


def _latin_bytes(text: str, encoding: str) -> bytes:
    """How pickle writes the bytes of an array; torch allows it by itself since 2.5."""
    if encoding != 'latin1':
        raise ValueError(f'refused encoding {encoding!r} in a checkpoint')
    return text.encode('latin1')


def _under_name(function, name: str):
    """The function by another full name, which is what the allow-list of torch goes by."""
    def call(*arguments):
        return function(*arguments)
    call.__module__, _, call.__name__ = name.rpartition('.')
    call.__qualname__ = call.__name__
    return call


def allow_mmengine_checkpoints() -> None:
    """Let `torch.load(weights_only=True)` read the log histories in stock mmengine checkpoints."""
    core = getattr(np, '_core', None) or np.core
    allowed = [HistoryBuffer, np.ndarray, np.dtype,
               *{type(np.dtype(code)) for code in np.typecodes['AllInteger'] + 'efdg?'},
               _under_name(_history_method, 'builtins.getattr'),
               _under_name(_latin_bytes, '_codecs.encode')]
    # A file names numpy's functions as the numpy that wrote it did, before and since version 2.
    for package in ('numpy.core', 'numpy._core'):
        allowed += [_under_name(core.multiarray._reconstruct, f'{package}.multiarray._reconstruct'),
                    _under_name(core.multiarray.scalar, f'{package}.multiarray.scalar')]
    torch.serialization.add_safe_globals(allowed)


def load_from_disk(filename: str, map_location=None):
    """A checkpoint file without running any code that it may hold.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is damaged, or that asks for anything but data.
    """
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'There is no checkpoint {filename}.')
    try:
        content = torch.load(filename, map_location=map_location, weights_only=True)
    except Exception as error:
        raise ValueError(f'{filename} cannot be read as a checkpoint, it is damaged or holds more '
                         f'than data: {_reason(error)}') from error
    if isinstance(content, dict) and isinstance(content.get('meta'), dict):
        content['meta'].pop('config', None)      # mmengine would execute this text when it resumes
    return content


def _reason(error: Exception) -> str:
    """The line of torch's explanation that names the fault; the others advise to trust the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if 'GLOBAL' in line or 'WeightsUnpickler error' in line]
    line = (named or lines or [type(error).__name__])[0]
    return line.removeprefix('WeightsUnpickler error: ').partition(' Please use')[0]


def save_to_disk(checkpoint: dict, filename: str, file_client_args=None, backend_args=None) -> None:
    """Write a checkpoint under a temporary name and rename it: a killed run leaves no half file.

    Raises:
        OSError: the file could not be written, because the disk is full for instance; what was
            there before stays as it was.
    """
    if not is_main_process():
        return
    temporary = f'{filename}.tmp'
    try:
        with open(temporary, 'wb') as file:
            writer = _Writer(file)
            torch.save(checkpoint, writer)
            if writer.error is not None:
                raise writer.error
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, filename)
    except OSError as error:
        path = Path(filename)
        others = sorted(p.name for p in path.parent.glob('*.pth') if p.name != path.name)
        kept = f"{', '.join(others)} beside it" if others else 'There was none before; the folder'
        raise OSError(f'The checkpoint {filename} could not be written: {error.strerror or error}. '
                      f'{kept} stays as it was. Make room and continue with --resume.') from error
    finally:
        if os.path.lexists(temporary):
            os.remove(temporary)


class _Writer:
    """A file for torch.save that keeps the first failed write for later.

    Raised at once it would pass through torch's C++ code, which makes another error of it.
    """

    def __init__(self, file):
        self.file = file
        self.error: OSError | None = None

    def write(self, data) -> int:
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Nothing: `save_to_disk` flushes once at the end."""


def convert_sync_batchnorm(module, implementation: str = 'torch'):
    """mmengine's drops the activation inside timm's batch norms, which timm's own keeps."""
    layers = sys.modules.get('timm.layers')
    if implementation == 'torch' and layers is not None:
        if any(isinstance(part, layers.BatchNormAct2d) for part in module.modules()):
            return layers.convert_sync_batchnorm(module)
    return mmengine_sync_batchnorm(module, implementation)


def clip_without_waiting(self) -> None:
    """`OptimWrapper._clip_grad`, less the log of the norm, for which every step would wait."""
    params = [p for group in self.optimizer.param_groups for p in group['params']
              if p.requires_grad and p.grad is not None]
    if params:
        self.clip_func(params, **self.clip_grad_kwargs)


def leave_metal_alone() -> None:
    """Compute on the CPU of an Apple machine: its GPU has no float64, which class counts need."""
    if mmengine_device.DEVICE == 'mps':
        mmengine_device.DEVICE = 'cpu'


leave_metal_alone()
apply_config_patches()
allow_mmengine_checkpoints()
CheckpointLoader.register_scheme(prefixes='', loader=load_from_disk, force=True)
mmengine_checkpoint.load_url = functools.partial(
    torch.hub.load_state_dict_from_url, weights_only=True)
mmengine_runner.save_checkpoint = save_to_disk
# The runner's look at the machine imports torchvision and starts a compiler: half a second for a
# log that is not written. evaluation.json says what there is.
mmengine_runner.collect_env = dict
mmengine_runner.convert_sync_batchnorm = convert_sync_batchnorm
OptimWrapper._clip_grad = clip_without_waiting
