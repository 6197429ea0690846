"""The sampler of two-branch training: two images at a time."""

import torch
from torch import Tensor

from ltcls.registry import SAMPLERS

from .reversed import ReversedSampler


@SAMPLERS.register_module()
class BilateralSampler(ReversedSampler):
    """In turns an image of the shuffled data set and one of a class drawn in reverse proportion.

    An epoch has twice as many images as the data set, and a batch of 2B is B pairs, the images at
    even places those of the conventional branch; `BilateralPairs` pairs them. Pairs stay together
    on a rank.

    Zhou et al., BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual
    Recognition, CVPR 2020, Sec. 4.2.
    """

    def draw(self, generator: torch.Generator) -> Tensor:
        """The pairs of one epoch, int64 [epoch length, 2]."""
        plain = torch.randperm(self.length, generator=generator) % len(self.by_class)
        return torch.stack([plain, super().draw(generator)], dim=1)

    def __len__(self) -> int:
        return 2 * self.num_samples
