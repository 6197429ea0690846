"""The reversed sampler of two-branch training."""

from torch import Tensor

from ltcls.registry import SAMPLERS
from ltcls.samplers.base import ClassSampler, proportional


@SAMPLERS.register_module()
class ReversedSampler(ClassSampler):
    """A class in inverse proportion to its size, q_c proportional to n_max / n_c.

    Zhou et al., BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual
    Recognition, CVPR 2020, Sec. 4.2.
    """

    def class_probabilities(self, class_counts: Tensor) -> Tensor:
        return proportional(class_counts.max() / class_counts.clamp(min=1), class_counts)
