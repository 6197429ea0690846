"""The base of every sampler that chooses classes: probabilities, seeds, epochs and ranks."""

from typing import Iterator, Sized

import torch
from mmengine.dataset import DefaultSampler
from torch import Tensor

EPOCH_LENGTHS = ('natural', 'head')


class ClassSampler(DefaultSampler):
    """Draws indices with replacement: a class with probability `class_probabilities()`, then an
    image uniformly inside the class.

    Seed and epoch fix the list of an epoch, whatever the number of ranks; each rank takes every
    world_size-th index of it. A list that the ranks cannot share evenly is continued from its
    start, so that all have the same number of batches.

    Args:
        dataset: has `labels`, integers [N], and `metainfo['classes']`, the C names.
        seed: equal on all ranks; None draws one and shares it.
        epoch_length: 'natural', N draws an epoch, or 'head', the size of the largest class times C.

    Raises:
        ValueError: a dataset without labels or images, or an unknown epoch length.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, epoch_length: str = 'natural'):
        super().__init__(dataset, shuffle=True, seed=seed, round_up=True)
        name = type(self).__name__
        if epoch_length not in EPOCH_LENGTHS:
            raise ValueError(f"{name} got epoch_length='{epoch_length}'; "
                             f'choose from {", ".join(EPOCH_LENGTHS)}.')
        labels = getattr(dataset, 'labels', None)
        if labels is None or 'classes' not in getattr(dataset, 'metainfo', {}):
            raise ValueError(f'{name} needs a dataset with `labels` and `metainfo["classes"]`; '
                             f'{type(dataset).__name__} lacks them: use a dataset of ltcls, or '
                             "sampler=dict(type='DefaultSampler').")
        labels = torch.as_tensor(labels, dtype=torch.int64)
        if len(labels) == 0 or len(dataset) == 0:
            raise ValueError(f'{name} got a {type(dataset).__name__} without images.')

        self.class_counts = torch.bincount(labels, minlength=len(dataset.metainfo['classes']))
        self.by_class = labels.argsort(stable=True)     # indices of class 0, then of class 1, ...
        self.class_starts = self.class_counts.cumsum(0) - self.class_counts
        self.length = len(dataset)
        if epoch_length == 'head':
            self.length = int(self.class_counts.max()) * len(self.class_counts)
        self.num_samples = -(-self.length // self.world_size)
        self.total_size = self.num_samples * self.world_size

    def class_probabilities(self, class_counts: Tensor) -> Tensor:
        """Probability that a draw is of each class, for counts float64 [C]: float64 [C], summing to
        one, zero for classes without images. May depend on `self.epoch`."""
        raise NotImplementedError

    def draw(self, generator: torch.Generator) -> Tensor:
        """The indices of one epoch, int64 [epoch length], for all ranks together."""
        probabilities = self.class_probabilities(self.class_counts.double())
        self._check(probabilities)
        # Not torch.multinomial: this search cannot return a class of probability zero.
        limits = probabilities.cumsum(0)
        points = self._uniform(generator) * limits[-1]
        classes = torch.searchsorted(limits, points, right=True)
        places = (self._uniform(generator) * self.class_counts[classes]).long()
        return self.by_class[self.class_starts[classes] + places]

    def __iter__(self) -> Iterator[int]:
        """The indices of this rank in this epoch."""
        indices = self.draw(torch.Generator().manual_seed(self.seed + self.epoch))
        mine = torch.arange(self.rank, self.total_size, self.world_size) % len(indices)
        return iter(indices[mine].flatten().tolist())

    def _uniform(self, generator: torch.Generator) -> Tensor:
        return torch.rand(self.length, dtype=torch.float64, generator=generator)

    def _check(self, probabilities: Tensor) -> None:
        name, counts = type(self).__name__, self.class_counts
        if probabilities.shape != counts.shape:
            raise ValueError(f'{name}.class_probabilities returned shape '
                             f'{list(probabilities.shape)} for {len(counts)} classes.')
        valid = bool((probabilities >= 0).all()) and abs(float(probabilities.sum()) - 1) < 1e-6
        if not valid:
            raise ValueError(f'{name}.class_probabilities must return numbers of at least zero '
                             'that sum to one, e.g. by ltcls.samplers.base.proportional.')
        impossible = ((probabilities > 0) & (counts == 0)).nonzero()[:, 0].tolist()
        if impossible:
            raise ValueError(f'{name}.class_probabilities gives classes {impossible} a chance, but '
                             'they have no images; their probability must be zero.')


def proportional(weights: Tensor, class_counts: Tensor) -> Tensor:
    """`weights` [C] scaled to sum to one over the classes that have images; zero for the others."""
    weights = torch.where(class_counts > 0, weights, torch.zeros_like(weights))
    return weights / weights.sum()
