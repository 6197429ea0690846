"""The samplers of decoupled training: natural, balanced, and what lies between."""

from typing import Sized

import torch
from mmengine.dataset import DefaultSampler
from torch import Tensor

from ltcls.registry import SAMPLERS
from ltcls.samplers.base import ClassSampler, proportional


@SAMPLERS.register_module()
class InstanceBalancedSampler(DefaultSampler):
    """Every image once an epoch, in a new order each epoch: a class is as frequent as it is large.

    `DefaultSampler` by the name the decoupling papers use, and the only sampler here without
    replacement.
    """

    def __init__(self, dataset: Sized, seed: int | None = None):
        super().__init__(dataset, shuffle=True, seed=seed, round_up=True)


@SAMPLERS.register_module()
class ClassBalancedSampler(ClassSampler):
    """Every class equally often, q_c = 1 / C.

    Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020,
    Sec. 3 (q = 0). C counts the classes that have images.
    """

    def class_probabilities(self, class_counts: Tensor) -> Tensor:
        return proportional(torch.ones_like(class_counts), class_counts)


@SAMPLERS.register_module()
class SquareRootSampler(ClassSampler):
    """A class as often as the square root of its size, q_c = sqrt(n_c) / sum_j sqrt(n_j).

    Kang et al., ICLR 2020, Sec. 3 (q = 1/2), after Mahajan et al., ECCV 2018.
    """

    def class_probabilities(self, class_counts: Tensor) -> Tensor:
        return proportional(class_counts.sqrt(), class_counts)


@SAMPLERS.register_module()
class ProgressiveSampler(ClassSampler):
    """From the natural frequencies to equal ones over the epochs, q_c = (1 - u) n_c / N + u / C.

    Kang et al., ICLR 2020, Eq. 2. For epoch t = 0 .. T - 1 of T the authors' code has
    u = t / (T - 1), which ends at equal frequencies; the paper's text and Zhang et al., Bag of
    Tricks for Long-Tailed Visual Recognition, AAAI 2021, have u = t / T.

    Args:
        dataset, seed, epoch_length: as in `ClassSampler`.
        form: 'decoupling', u = t / (T - 1), or 't/T'.
        max_epochs: T. Under `LongTailHook` it is set from the training loop.

    Raises:
        ValueError: an unknown form, or a negative T.
        RuntimeError: when drawing, if T is not known.
    """

    def __init__(self,
                 dataset: Sized,
                 seed: int | None = None,
                 epoch_length: str = 'natural',
                 form: str = 'decoupling',
                 max_epochs: int | None = None):
        super().__init__(dataset, seed=seed, epoch_length=epoch_length)
        if form not in ('decoupling', 't/T'):
            raise ValueError(f"ProgressiveSampler got form='{form}'; choose 'decoupling' or 't/T'.")
        self.form = form
        self.max_epochs = None
        if max_epochs is not None:
            self.set_max_epochs(max_epochs)

    def set_max_epochs(self, max_epochs: int) -> None:
        """Tell the sampler T, the number of epochs of the training; 0 in a stage without any."""
        if max_epochs < 0:
            raise ValueError(f'ProgressiveSampler got max_epochs={max_epochs}; '
                             'it cannot be negative.')
        self.max_epochs = max_epochs

    def class_probabilities(self, class_counts: Tensor) -> Tensor:
        if self.max_epochs is None:
            raise RuntimeError('ProgressiveSampler does not know the number of epochs: keep '
                               'LongTailHook in default_hooks, or pass max_epochs.')
        last = self.max_epochs - 1 if self.form == 'decoupling' else self.max_epochs
        share = min(self.epoch / max(last, 1), 1.0)
        natural = proportional(class_counts, class_counts)
        equal = proportional(torch.ones_like(class_counts), class_counts)
        return (1 - share) * natural + share * equal
