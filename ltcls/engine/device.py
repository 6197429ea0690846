"""What fits a run to its device: where images lie, a fused optimizer, memory that is kept."""

import ctypes
import platform
from typing import Iterable

import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from ltcls.engine.check import LOADERS

FUSED = ('SGD', 'Adam', 'AdamW')
LARGEST_SHARE = 0.25      # of the GPU's free memory, for the images of one loader
# What platform and torch call processors of Intel's kind, and those of them before AVX-512.
INTEL, BEFORE_AVX512 = ('x86_64', 'AMD64'), ('DEFAULT', 'AVX2')
# M_TOP_PAD, M_MMAP_MAX and M_TRIM_THRESHOLD of glibc's malloc.h, with what they are set to.
ALLOCATOR = {-2: 64 * 2 ** 20, -4: 0, -1: 2 ** 31 - 1}


def keep_freed_memory() -> None:
    """Have glibc keep up to 2 GiB of freed memory for the next iteration.

    It hands large blocks back to the system at once, and every iteration of a training on the CPU
    pays for having the same pages mapped and cleared again. Other C libraries are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in ALLOCATOR.items():
        mallopt(option, value)


def slow_precision(precision: str | None, device: str) -> bool:
    """Whether the device is a processor that only imitates 16 bits, at many times the time."""
    return (device == 'cpu' and precision in ('bfloat16', 'float16')
            and platform.machine() in INTEL
            and torch.backends.cpu.get_cpu_capability() in BEFORE_AVX512)


def fuse_optimizer(cfg: Config, device: str) -> None:
    """Have the optimizer update all weights in one kernel, unless the config says otherwise."""
    optimizer = cfg.optim_wrapper.get('optimizer')
    if device == 'cuda' and optimizer and optimizer.get('type') in FUSED:
        if 'foreach' not in optimizer:
            optimizer.setdefault('fused', True)


def pin_batches(cfg: Config, device: str) -> None:
    """Have workers' batches lie in pinned memory for a GPU, unless the config says otherwise.

    From there a batch travels while the GPU computes; from any other memory the host would wait.
    """
    for name in LOADERS:
        loader = cfg.get(name)
        if device == 'cuda' and loader and loader.get('num_workers'):
            loader.setdefault('pin_memory', True)


def place_data(loaders: Iterable[DataLoader], device: torch.device) -> None:
    """Move the images of data sets that are fetched a batch at a time to the model's device.

    A batch is then an indexing operation there, and nothing but the indices is copied. Loaders
    with workers, with pinned memory, and images beyond a quarter of the free memory are left alone.
    """
    for loader in loaders:
        if _can_move(loader) and _fits(loader.dataset.images, device):
            loader.dataset.place(device)


def _can_move(loader: DataLoader) -> bool:
    whole = getattr(loader.dataset, '__getitems__', None) is not None
    direct = not loader.num_workers and not loader.pin_memory
    return whole and direct and hasattr(loader.dataset, 'place')


def _fits(images: torch.Tensor, device: torch.device) -> bool:
    if device.type != 'cuda':
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes <= LARGEST_SHARE * free
