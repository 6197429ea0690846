"""Balanced classes in turns: each once a round, no image twice before its class is used up."""

from typing import Sized

import torch
from torch import Tensor

from ltcls.registry import SAMPLERS
from ltcls.samplers.balanced import ClassBalancedSampler


@SAMPLERS.register_module()
class ClassAwareSampler(ClassBalancedSampler):
    """Goes through the classes in shuffled rounds and takes some images of each in its turn.

    Every class that has images comes once a round, in a new order each round. Its turn gives the
    next `images_per_turn` images of a cycle through the class, shuffled anew each time around.
    Balanced like `ClassBalancedSampler`, with less chance in it. Shen et al., Relay Backpropagation
    for Effective Learning of Deep Convolutional Neural Networks, ECCV 2016; with four images a turn
    in the code of Kang et al., ICLR 2020. There the cycles run on across epochs; here every epoch
    begins new ones, so that seed and epoch alone fix its list.

    Args:
        dataset, seed, epoch_length: as in `ClassSampler`.
        images_per_turn: consecutive images of one class.

    Raises:
        ValueError: images_per_turn below 1.
    """

    def __init__(self,
                 dataset: Sized,
                 seed: int | None = None,
                 epoch_length: str = 'natural',
                 images_per_turn: int = 4):
        super().__init__(dataset, seed=seed, epoch_length=epoch_length)
        if images_per_turn < 1:
            raise ValueError(f'ClassAwareSampler got images_per_turn={images_per_turn}; '
                             'it needs at least 1.')
        self.images_per_turn = images_per_turn

    def draw(self, generator: torch.Generator) -> Tensor:
        classes = self._classes(generator)[:self.length]
        drawn = torch.bincount(classes, minlength=len(self.class_counts))

        # Every class's cycles, whole ones, end to end: one slot for each image of each cycle.
        counts = self.class_counts.clamp(min=1)
        cycles = -(-drawn // counts)
        slots = cycles * counts
        starts = slots.cumsum(0) - slots
        cycle = torch.repeat_interleave(torch.repeat_interleave(counts, cycles))
        # Sorting random keys within each cycle; two sorts, as a sum of both keys would round.
        mixed = torch.rand(len(cycle), dtype=torch.float64, generator=generator).argsort()
        mixed = mixed[cycle[mixed].argsort(stable=True)]

        slot = starts[classes] + occurrences(classes, drawn)
        places = (mixed[slot] - starts[classes]) % counts[classes]
        return self.by_class[self.class_starts[classes] + places]

    def _classes(self, generator: torch.Generator) -> Tensor:
        """The class of each draw, for at least as many draws as the epoch has."""
        present = self.class_counts.nonzero()[:, 0]
        rounds = -(-self.length // (len(present) * self.images_per_turn))
        keys = torch.rand(rounds, len(present), dtype=torch.float64, generator=generator)
        return present[keys.argsort(dim=1).flatten()].repeat_interleave(self.images_per_turn)


def occurrences(classes: Tensor, drawn: Tensor) -> Tensor:
    """How often each element's value stood before it: [2, 5, 2, 2] gives [0, 0, 1, 2].

    `drawn` [C] is how often each class occurs in `classes` [M].
    """
    order = classes.argsort(stable=True)
    firsts = drawn.cumsum(0) - drawn
    result = torch.empty_like(classes)
    result[order] = torch.arange(len(classes)) - firsts[classes[order]]
    return result
