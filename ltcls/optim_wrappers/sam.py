"""SAM and its kin: the gradient at the worst point nearby."""

import re
from typing import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ltcls.longtail import class_prior, value_at
from ltcls.registry import OPTIM_WRAPPERS

from .objective import Objective
from .perturbed import PerturbedOptimWrapper, check_radius, total_norm


@OPTIM_WRAPPERS.register_module()
class SAM(PerturbedOptimWrapper):
    """Descends with the gradient at w + e, e = rho * g / ||g||, g the gradient at w.

    Two forward and two backward passes a step. Foret et al., Sharpness-Aware Minimization for
    Efficiently Improving Generalization, ICLR 2021, Eqs. 2-3. Weight decay stays in the optimizer:
    applied once, at w. With `adaptive` the neighbourhood follows the size of each weight,
    e = rho * T^2 g / ||T g||, T = |w| + eta: Kwon et al., ASAM, ICML 2021, Eq. 7; as in the authors'
    code T is 1 for tensors that are not weights. Their radius is about ten times SAM's.

    Args:
        rho: radius; or pairs (first epoch, radius), for a radius that changes with the epoch as in
            Rangwani et al., Escaping Saddle Points for Effective Generalization on
            Class-Imbalanced Data, NeurIPS 2022. 0 is the plain step.
        adaptive: ASAM.
        eta: added to |w|.
        adaptive_names: pattern of the names of tensors with T = |w| + eta; '' for every tensor.
        sync_ascent: all ranks climb along the gradient of the whole batch. By default each rank
            climbs along that of its own part, which is the SAM paper's rule for several devices.
        options: see `PerturbedOptimWrapper`.

    Raises:
        ValueError: a negative radius or eta; `adaptive_names` that fit nothing.
    """

    starts_at_weights = True

    def __init__(self, optimizer: torch.optim.Optimizer,
                 rho: float | Sequence[Sequence[float]] = 0.05, adaptive: bool = False,
                 eta: float = 0.01, adaptive_names: str = 'weight', sync_ascent: bool = False,
                 **options):
        super().__init__(optimizer, **options)
        check_radius(type(self).__name__, rho)
        if eta < 0:
            raise ValueError(f'{type(self).__name__} got eta={eta}; use 0 or more, e.g. 0.01.')
        self.rho = rho
        self.adaptive, self.eta, self.adaptive_names = adaptive, eta, adaptive_names
        self.sync_ascent = sync_ascent

    def choose(self, model: nn.Module) -> None:
        super().choose(model)
        fits = any(re.search(self.adaptive_names, name) for name in self.names)
        if self.adaptive and self.params and not fits:
            raise ValueError(f"{type(self).__name__}: adaptive_names='{self.adaptive_names}' fits "
                             "no parameter that is perturbed; use 'weight', or '' for every one.")

    def accumulate_grad(self, objective: Objective) -> None:
        rho = value_at(self.rho, objective.clock.epoch)
        if rho == 0:
            return self.backward(objective().mean())
        ascent = self.gradient(self.ascent_loss(objective))
        if self.sync_ascent:
            ascent = self.average(ascent)
        with self.perturbed(self.offsets(ascent, rho)):
            self.backward(objective().mean())

    def ascent_loss(self, objective: Objective) -> Tensor:
        """The loss whose gradient is climbed."""
        return objective().mean()

    def offsets(self, ascent: list[Tensor | None], rho: float) -> list[Tensor | None]:
        """Offsets of norm `rho` along the gradients `ascent`, which are overwritten."""
        present = [grad for grad in ascent if grad is not None]
        sized = [(grad, parameter.detach()) for name, parameter, grad
                 in zip(self.names, self.params, ascent)
                 if self.adaptive and grad is not None and re.search(self.adaptive_names, name)]
        if sized:
            grads, weights = map(list, zip(*sized))
            sizes = torch._foreach_abs(weights)
            torch._foreach_add_(sizes, self.eta)
            torch._foreach_mul_(grads, sizes)
        if present:
            torch._foreach_mul_(present, rho / (total_norm(present) + 1e-12))
        if sized:
            torch._foreach_mul_(grads, sizes)
        return ascent


@OPTIM_WRAPPERS.register_module()
class RwSAM(SAM):
    """SAM that climbs along a re-weighted loss and descends with the plain one.

    Class c weighs in proportion to growth ** rank, where the most frequent class has rank 0 and the
    rarest C - 1.
    Liu et al., Self-Supervised Learning is More Robust to Dataset Imbalance, ICLR 2022, Sec. 4,
    where `growth` is 1.2 to 1.6 for ten classes; made there for self-supervised losses.

    Args:
        growth: at least 1; 1 is SAM.
        options: see `SAM`.

    Raises:
        ValueError: growth below 1.
    """

    uses_counts = True

    def __init__(self, optimizer: torch.optim.Optimizer, growth: float = 1.2, **options):
        super().__init__(optimizer, **options)
        if growth < 1:
            raise ValueError(f'RwSAM got growth={growth}; use 1 or more, e.g. 1.2.')
        self.growth = growth

    def ascent_loss(self, objective: Objective) -> Tensor:
        prior = class_prior(objective.class_counts)
        ranks = prior.argsort(descending=True, stable=True).argsort()[objective.labels]
        rarest = ranks.max()
        if self.sync_ascent:
            all_reduce(rarest, op='max')
        losses = objective()
        # Only the direction counts: with the rarest class of the batch at 1, many classes neither
        # overflow nor vanish.
        return (losses * self.growth ** (ranks - rarest).to(losses.dtype)).mean()
