"""Samplers by the effective number of samples: EN, and CBEN with one beta a class."""

from typing import Sequence, Sized

from torch import Tensor

from ltcls.longtail import effective_numbers, log_cloud_sizes
from ltcls.registry import SAMPLERS
from ltcls.samplers.base import ClassSampler, proportional


@SAMPLERS.register_module()
class EffectiveNumberSampler(ClassSampler):
    """An image of class c in proportion to (1 - beta) / (1 - beta ** n_c).

    Hence the class in proportion to n_c over its effective number: as frequent as it is large at
    beta = 0, nearly balanced for beta towards 1. Cui et al., Class-Balanced Loss Based on Effective
    Number of Samples, CVPR 2019, Eq. 2, used as a sampler.

    Args:
        dataset, seed, epoch_length: as in `ClassSampler`.
        beta: in [0, 1).

    Raises:
        ValueError: beta outside [0, 1).
    """

    def __init__(self,
                 dataset: Sized,
                 seed: int | None = None,
                 epoch_length: str = 'natural',
                 beta: float = 0.9999):
        super().__init__(dataset, seed=seed, epoch_length=epoch_length)
        if not 0 <= beta < 1:
            raise ValueError(f'EffectiveNumberSampler got beta={beta}; it must lie in [0, 1).')
        self.beta = beta

    def class_probabilities(self, class_counts: Tensor) -> Tensor:
        # At least one image, so that an empty class is 0 / 1 and not 0 / 0.
        numbers = effective_numbers(class_counts.clamp(min=1), self.beta)
        return proportional(class_counts / numbers, class_counts)


@SAMPLERS.register_module()
class CBENSampler(ClassSampler):
    """Class-based effective number: an image of class c in proportion to
    (1 - beta_c) / (1 - beta_c ** n_c), with a beta that grows as the class gets rarer.

    beta_c = beta[0] + (beta[1] - beta[0]) * (log n_max - log n_c) / (log n_max - log n_min).
    Li et al., Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment, CVPR 2022,
    Eqs. 13-14, in which beta is (a, a + b).

    Args:
        dataset, seed, epoch_length: as in `ClassSampler`.
        beta: of the largest and of the smallest class, each in [0, 1).

    Raises:
        ValueError: not two numbers in [0, 1).
    """

    def __init__(self,
                 dataset: Sized,
                 seed: int | None = None,
                 epoch_length: str = 'natural',
                 beta: Sequence[float] = (0.9999, 0.99991)):
        super().__init__(dataset, seed=seed, epoch_length=epoch_length)
        if not isinstance(beta, Sequence) or len(beta) != 2 or not all(0 <= b < 1 for b in beta):
            raise ValueError(f'CBENSampler got beta={beta}; it needs two numbers in [0, 1), for '
                             'the largest and the smallest class, e.g. (0.9999, 0.99991).')
        self.beta = tuple(beta)

    def class_probabilities(self, class_counts: Tensor) -> Tensor:
        head, tail = self.beta
        betas = head + (tail - head) * log_cloud_sizes(class_counts)
        numbers = effective_numbers(class_counts.clamp(min=1), betas)
        return proportional(class_counts / numbers, class_counts)
