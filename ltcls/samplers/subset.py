"""A balanced part of a long-tailed training set."""

from typing import Sized

import torch
from torch import Tensor

from ltcls.registry import SAMPLERS
from ltcls.samplers.base import ClassSampler


@SAMPLERS.register_module()
class BalancedSubsetSampler(ClassSampler):
    """The same few images of every class, each once an epoch in a new order; the others never.

    Cui et al., Large Scale Fine-Grained Categorization and Domain-Specific Transfer Learning, CVPR
    2018, fine-tune on such a subset after training on everything. Which images it has is drawn once
    from the seed. Unlike class-balanced sampling it repeats no image of the tail.

    Args:
        dataset, seed: as in `ClassSampler`.
        per_class: images a class; a class that has fewer gives all. None for as many as the rarest
            class has.

    Raises:
        ValueError: per_class below 1.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, per_class: int | None = None):
        super().__init__(dataset, seed=seed)
        if per_class is not None and per_class < 1:
            raise ValueError(f'BalancedSubsetSampler got per_class={per_class}; it needs at least '
                             '1, or None for the size of the rarest class.')
        present = self.class_counts[self.class_counts > 0]
        limit = int(present.min()) if per_class is None else per_class
        # Random keys, sorted by class: the first ones of each class are the subset.
        keys = torch.rand(len(self.by_class), dtype=torch.float64,
                          generator=torch.Generator().manual_seed(self.seed))
        classes = torch.repeat_interleave(self.class_counts)
        mixed = keys.argsort()
        mixed = mixed[classes[mixed].argsort(stable=True)]
        places = torch.arange(len(mixed)) - self.class_starts[classes]
        self.subset: Tensor = self.by_class[mixed[places < limit]]
        self.length = len(self.subset)
        self.num_samples = -(-self.length // self.world_size)
        self.total_size = self.num_samples * self.world_size

    def draw(self, generator: torch.Generator) -> Tensor:
        return self.subset[torch.randperm(self.length, generator=generator)]
