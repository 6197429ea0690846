"""ImbSAM: sharpness-aware for the tail classes only."""

from typing import Sequence

import torch

from ltcls.longtail import value_at
from ltcls.registry import OPTIM_WRAPPERS

from .objective import Objective
from .perturbed import PerturbedOptimWrapper, check_radius, rescale


@OPTIM_WRAPPERS.register_module()
class ImbSAM(PerturbedOptimWrapper):
    """Head classes descend at w, tail classes at w + rho * g / ||g||, g their own gradient.

    Tail are the classes with fewer than `threshold` training images; both losses are divided by
    the whole batch. The perturbed pass sees the whole batch and keeps the tail's rows, so batch
    norm normalises as ever; two passes also without a tail sample. Under mixing the first label
    decides.

    Zhou et al., ImbSAM: A Closer Look at Sharpness-Aware Minimization in Class-Imbalanced
    Recognition, ICCV 2023, Algorithm 1; the weight 2 of the tail is from the authors' code.

    Args:
        rho: radius, or pairs of epoch and radius (see `SAM`).
        threshold: training images from which on a class is no tail; with 0 none is.
        tail_weight: factor of the tail's loss.
        options: see `PerturbedOptimWrapper`.

    Raises:
        ValueError: a negative radius, threshold or weight; no class with images below the
            threshold.
    """

    capturable = False      # two backward passes through one forward pass
    starts_at_weights = True
    uses_counts = True

    def __init__(self, optimizer: torch.optim.Optimizer, rho=0.05, threshold: float = 20,
                 tail_weight: float = 2.0, **options):
        super().__init__(optimizer, **options)
        check_radius('ImbSAM', rho)
        if threshold < 0 or tail_weight < 0:
            raise ValueError(f'ImbSAM got threshold={threshold}, tail_weight={tail_weight}; '
                             'both must be at least 0.')
        self.rho, self.threshold, self.tail_weight = rho, threshold, tail_weight

    def check_counts(self, class_counts: Sequence[int]) -> None:
        """Called before training with the images of each class."""
        # A class without images is in no batch: it makes no tail.
        rarest = min(count for count in class_counts if count > 0)
        if rarest >= self.threshold > 0:
            raise ValueError(f'ImbSAM has no tail: the rarest class has {rarest} training images, '
                             f'and optim_wrapper.threshold={self.threshold:g}. Raise it.')

    def accumulate_grad(self, objective: Objective) -> None:
        rho = value_at(self.rho, objective.clock.epoch)
        tail = objective.class_counts[objective.labels] < self.threshold
        losses = objective()
        shares = self.tail_weight * tail.to(losses.dtype)
        if rho == 0:
            return self.backward((losses * (shares + ~tail)).mean())
        ascent = self.gradient((losses * shares).mean(), retain_graph=True)
        self.backward((losses * ~tail).mean())
        with self.perturbed(rescale(ascent, norm=rho)):
            self.backward((objective() * shares).mean())
