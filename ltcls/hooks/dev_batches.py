"""Batches of a balanced development set, without end."""

import random
from typing import Iterator

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor
from torch.utils.data import DataLoader

from ltcls.registry import DATASETS

from .draws import Draws
from .epoch_seed import epoch_seed

STREAM = 10 ** 6      # in the place of a rank: a stream of random numbers of its own


class DevBatches:
    """Shuffled rounds through a development set, one after the other.

    Every epoch begins anew from (seed, epoch), so that a resumed run sees the batches of an
    undisturbed one and a checkpoint need not hold them. On several ranks each takes its part of a
    batch that is as many times larger, with random transforms of its own. The global generators
    stay as they are, so that training images are augmented as in a run without such batches.

    Args:
        train: the loader of the training set, whose way of loading is used.
        config: of the training set; the development set is its part 'dev'.
        batch_size: images a rank, or the whole set if that is smaller.
        from_train: images a class that are taken from the training set instead, which keeps them;
            a class that has fewer gives some of them several times.
        seed: the same on all ranks.
    """

    def __init__(self, train: DataLoader, config: dict, batch_size: int,
                 from_train: int | None = None, seed: int = 0):
        self.train, self.seed = train, seed
        if from_train is None:
            self.dataset = DATASETS.build(dict(config, split='dev'))
            self.indices = torch.arange(len(self.dataset.labels))
            images = getattr(train.dataset, 'images', None)
            if images is not None and images.device.type != 'cpu':
                self.dataset.place(images.device)
        else:
            self.dataset = train.dataset
            generator = torch.Generator().manual_seed(seed)
            self.indices = balanced_indices(torch.as_tensor(self.dataset.labels), from_train,
                                            generator)
        self.batch_size = min(batch_size, len(self.indices))

    def epoch(self, epoch: int) -> Iterator[dict]:
        """The batches of an epoch."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, epoch, STREAM))
        own = generator.initial_seed() + get_rank()
        options = {}
        if self.train.num_workers:
            options = dict(num_workers=self.train.num_workers,
                           prefetch_factor=self.train.prefetch_factor,
                           worker_init_fn=self.train.worker_init_fn)
        batches = iter(DataLoader(
            self.dataset, batch_sampler=self._rounds(generator),
            collate_fn=self.train.collate_fn, pin_memory=self.train.pin_memory,
            generator=torch.Generator().manual_seed(own), **options))
        return batches if options else _apart(batches, own)

    def draws(self, epoch: int, device: torch.device) -> Draws:
        """What is drawn for these batches after they are loaded: augmentation, dropout."""
        return Draws(device, epoch_seed(self.seed, epoch, STREAM + 1 + get_rank()))

    def _rounds(self, generator: torch.Generator) -> Iterator[list[int]]:
        ranks = get_world_size()
        size, order = self.batch_size * ranks, self.indices[:0]
        while True:
            while len(order) < size:
                mixed = torch.randperm(len(self.indices), generator=generator)
                order = torch.cat([order, self.indices[mixed]])
            yield order[get_rank():size:ranks].tolist()
            order = order[size:]


def _apart(batches: Iterator[dict], seed: int) -> Iterator[dict]:
    """The same batches, whose transforms draw from generators of their own in this process."""
    own = (random.Random(seed).getstate(), np.random.RandomState(seed % 2 ** 32).get_state(),
           torch.Generator().manual_seed(seed).get_state())
    while True:
        others = _exchange(own)
        try:
            batch = next(batches)
        finally:
            own = _exchange(others)
        yield batch


def _exchange(states: tuple) -> tuple:
    """Put the global generators of this process into these states; returns those they had."""
    found = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    return found


def balanced_indices(labels: Tensor, per_class: int, generator: torch.Generator) -> Tensor:
    """Indices of `per_class` images of every class in labels [N]; small classes repeat theirs."""
    chosen = []
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=generator)]
        chosen.append(members.repeat(-(-per_class // len(members)))[:per_class])
    return torch.cat(chosen)
