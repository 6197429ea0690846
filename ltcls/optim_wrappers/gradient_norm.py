"""The penalty on the gradient's norm."""

import torch

from ltcls.longtail import value_at
from ltcls.registry import OPTIM_WRAPPERS

from .objective import Objective
from .perturbed import PerturbedOptimWrapper, check_radius, rescale, total_norm


@OPTIM_WRAPPERS.register_module()
class GradientNormPenalty(PerturbedOptimWrapper):
    """Minimises the loss plus `share * rho` times the norm of its gradient, to first order.

    The gradient is (1 - share) * g(w) + share * g(w + rho * g / ||g||). `share=1` is SAM, and
    `rho=0` the plain step. Zhao et al., Penalizing Gradient Norm for Efficiently
    Improving Generalization in Deep Learning, ICML 2022, Algorithm 1, whose CIFAR values are the
    defaults.

    Args:
        rho: length of the probing step, or pairs of epoch and length (see `SAM`).
        share: of the gradient there, in [0, 1].
        normalise_first: divide g(w) by its norm in the sum, as the authors' code does by default.
        options: see `PerturbedOptimWrapper`.

    Raises:
        ValueError: a negative length, or a share outside [0, 1].
    """

    starts_at_weights = True

    def __init__(self, optimizer: torch.optim.Optimizer, rho=0.1, share: float = 0.8,
                 normalise_first: bool = False, **options):
        super().__init__(optimizer, **options)
        check_radius('GradientNormPenalty', rho)
        if not 0 <= share <= 1:
            raise ValueError(f'GradientNormPenalty got share={share}; it must lie in [0, 1].')
        self.rho, self.share, self.normalise_first = rho, share, normalise_first

    def accumulate_grad(self, objective: Objective) -> None:
        rho = value_at(self.rho, objective.clock.epoch)
        if rho == 0 and not self.normalise_first:
            return self.backward(objective().mean())
        # By all that trains, not only by what is perturbed: the sum is the descent direction.
        everything = self._trainable()
        grads = dict(zip(map(id, everything), self.gradient(objective().mean(), everything)))
        ascent = [grads[id(parameter)] for parameter in self.params]
        offsets = rescale(ascent, norm=rho)
        weight = 1 - self.share
        if self.normalise_first:
            weight = weight / (total_norm(list(grads.values())) + 1e-12)
        self.add_gradient(list(grads.values()), weight, params=everything)
        with self.perturbed(offsets):
            self.backward(self.share * objective().mean())
