"""How a loader puts a batch together, and how its workers are seeded."""

import copy
import random
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ltcls.registry import FUNCTIONS

from .base import DataError

SAMPLED = 16       # images that are tried before training


@FUNCTIONS.register_module()
def collate_batch(batch, key: str | None = 'pipeline') -> dict[str, Tensor]:
    """A batch from the loader's list of samples; a batch that was fetched whole stays as it is.

    Args:
        key: of the pipeline in the config, for the error; None where no config is at hand.

    Raises:
        DataError: images of different sizes.
    """
    if isinstance(batch, dict):
        return batch
    try:
        return default_collate(batch)
    except RuntimeError:
        images = [sample.get('inputs') for sample in batch if isinstance(sample, dict)]
        if len(images) == len(batch) and all(isinstance(image, Tensor) for image in images):
            _check_sizes(images, key)
        raise


def _check_sizes(images: list[Tensor], key: str | None) -> None:
    first, (height, width) = images[0], images[0].shape[-2:]
    for image in images:
        if image.shape[-2:] != first.shape[-2:]:
            side = min(height, width)
            remedy = ('Bring the images to one size, or take one at a time: --batch-size 1'
                      if key is None else
                      'Add CenterCrop or RandomResizedCrop to it, or give Resize both sides: '
                      f'size=[{side}, {side}]')
            raise DataError(
                f'{_source(image)} is {image.shape[-1]}x{image.shape[-2]} and {_source(first)} is '
                f'{width}x{height} after {key or "the pipeline of the run"}: a batch needs one '
                f'size. {remedy}.')


def _source(image: Tensor) -> str:
    return getattr(image, 'source', 'an image')


def try_batch(dataset: Dataset, name: str) -> None:
    """Put together a few images from all over a data set, whose loader is `name`_dataloader.

    Raises:
        DataError: images of different sizes, or one that cannot be read.
    """
    dataset = _copied(dataset)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, SAMPLED).astype(np.int64)).tolist()
    with _own_draws():
        collate_batch([dataset[index] for index in chosen], _pipeline_key(dataset, name))


def check_loader(loader: DataLoader, name: str) -> None:
    """Try a few images of `name`_dataloader before training, and let later errors name its key.

    Raises:
        DataError: as in `try_batch`.
    """
    joins = getattr(loader.collate_fn, 'func', loader.collate_fn) is collate_batch
    if not joins or getattr(loader.dataset, '__getitems__', None) is not None:
        return
    loader.collate_fn = partial(collate_batch, key=_pipeline_key(loader.dataset, name))
    if loader.batch_size not in (None, 1):      # None: a batch sampler may sort images by size
        try_batch(loader.dataset, name)


def _pipeline_key(dataset: Dataset, name: str) -> str:
    key = f'{name}_dataloader.dataset'
    if hasattr(dataset, 'known'):        # an open set
        return f'{key}.known.pipeline and {key}.unknown.pipeline'
    return f'{key}.pipeline'


def _copied(dataset: Dataset) -> Dataset:
    """Another one: what opens its file at the first image keeps it closed, for workers to open."""
    found = copy.copy(dataset)
    for part in ('known', 'unknown'):        # of an open set
        if isinstance(getattr(found, part, None), Dataset):
            setattr(found, part, copy.copy(getattr(found, part)))
    return found


@contextmanager
def _own_draws():
    """Leaves the global generators as they were, whatever transforms draw inside."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Nothing: torch seeds a worker anew in every epoch; mmengine's own would repeat the seeds."""
