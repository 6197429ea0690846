"""What a GPU is given beforehand: images that are in memory anyway, and a fused optimizer."""

from typing import Iterable

import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

FUSED = ('SGD', 'Adam', 'AdamW')
LARGEST_SHARE = 0.25      # of the GPU's free memory, for the images of one loader


def fuse_optimizer(cfg: Config, device: str) -> None:
    """Have the optimizer update all weights in one kernel, unless the config says otherwise."""
    optimizer = cfg.optim_wrapper.get('optimizer')
    if device == 'cuda' and optimizer and optimizer.get('type') in FUSED:
        if 'foreach' not in optimizer:
            optimizer.setdefault('fused', True)


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
