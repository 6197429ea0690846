"""GNM: the gradient at a random point nearby."""

import math

import torch
from mmengine.dist import broadcast, get_world_size
from torch import Tensor

from ltcls.longtail import Clock
from ltcls.registry import OPTIM_WRAPPERS

from .objective import Objective
from .perturbed import PerturbedOptimWrapper

SCHEDULES = ('constant', 'halve', 'code', 'cosine', 'linear')


@OPTIM_WRAPPERS.register_module()
class GNM(PerturbedOptimWrapper):
    """Gaussian neighbourhood minimisation: the gradient at w + e, e drawn anew each time.

    e = rho * clamp(normal(0, sigma), -1, 1) for every scalar of the weights, on its own. One
    forward and one backward pass, like a plain step; weight decay acts at w. To second order it
    adds (rho * std)^2 / 2 times the trace of the Hessian to the loss.

    Li et al., Improving Visual Prompt Tuning by Gaussian Neighborhood Minimization for Long-Tailed
    Visual Recognition, NeurIPS 2024, Eqs. 1-3. sigma, the clamp and the radius 0.005 are those of
    the authors' code (0.05 times 0.1). That code doubles the radius in epoch 0 and halves it
    again and again; here it is halved once, and `schedule='code'` does as the code.

    Args:
        rho: radius, per scalar; 0 is the plain step. With `total_norm` the norm of all offsets.
        halve_at: epoch from which on the radius is half, usually where re-weighting begins;
            counted from 0, and at least 2 for 'code'.
        schedule: 'constant' (the default without `halve_at`), 'halve' (with it), 'code'; or
            'cosine' or 'linear', which fall to 0 over the whole training.
        sigma: standard deviation before the clamp; 0 is the plain step.
        clamp: bound before multiplication by rho; None for none, as the paper's formula reads.
        total_norm: scale the offsets to the norm rho; the same displacement for any model size.
        same_on_ranks: all ranks draw what rank 0 draws; by default each draws its own.
        same_in_window: with gradient accumulation, one draw for all micro-batches of a step.
        options: see `PerturbedOptimWrapper`. In networks with batch norm, `exclude_norm_bias`
            keeps the noise off its scales and shifts.

    Raises:
        ValueError: a value outside these, or a schedule without its `halve_at`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, rho: float = 0.005,
                 halve_at: int | None = None, schedule: str | None = None, sigma: float = 1 / 3,
                 clamp: float | None = 1.0, total_norm: bool = False, same_on_ranks: bool = False,
                 same_in_window: bool = False, **options):
        super().__init__(optimizer, **options)
        if rho < 0 or sigma < 0 or (clamp is not None and clamp <= 0):
            raise ValueError(f'GNM got rho={rho}, sigma={sigma}, clamp={clamp}; rho and sigma must '
                             'be at least 0, clamp positive or None.')
        schedule = schedule or ('constant' if halve_at is None else 'halve')
        if schedule not in SCHEDULES:
            raise ValueError(f"GNM got schedule='{schedule}'; use {', '.join(SCHEDULES)}.")
        earliest = dict(halve=0, code=2).get(schedule)
        if earliest is not None and (halve_at is None or halve_at < earliest):
            raise ValueError(f"GNM got schedule='{schedule}' with halve_at={halve_at}; give the "
                             f'epoch at which the radius is halved, at least {earliest}.')
        self.rho, self.halve_at, self.schedule = rho, halve_at, schedule
        self.sigma, self.clamp, self.total_norm = sigma, clamp, total_norm
        self.same_on_ranks, self.same_in_window = same_on_ranks, same_in_window
        self._window: list[Tensor] | None = None

    def accumulate_grad(self, objective: Objective) -> None:
        radius = self.radius(objective.clock)
        if not radius or not self.sigma:
            return self.backward(objective().mean())
        if self._window is None or not self.same_in_window:
            self._window = self.noise(self._draw)
        with self.perturbed(self._window, alpha=radius):
            self.backward(objective().mean())

    def step(self, **kwargs) -> None:
        self._window = None
        super().step(**kwargs)

    def radius(self, clock: Clock) -> float:
        """The radius at this time."""
        if self.schedule == 'constant':
            factor = 1.0
        elif self.schedule == 'halve':
            factor = 0.5 if clock.epoch >= self.halve_at else 1.0
        elif self.schedule == 'code':
            factor = 0.5 ** ((clock.epoch - 1) // (self.halve_at - 1))
        elif self.schedule == 'cosine':
            factor = 0.5 * (1 + math.cos(math.pi * clock.progress))
        else:
            factor = 1 - clock.progress
        return self.rho * factor

    def draw(self, flat: Tensor) -> None:
        """Fill `flat` with raw noise, before clamp and radius."""
        flat.normal_(0, self.sigma)

    def _draw(self, flat: Tensor) -> None:
        self.draw(flat)
        if self.clamp is not None:
            flat.clamp_(-self.clamp, self.clamp)
        if self.same_on_ranks and get_world_size() > 1:
            broadcast(flat, src=0)
        if self.total_norm:
            # Noise that is zero throughout has no direction and stays.
            tiny = torch.finfo(flat.dtype).tiny
            flat.div_(torch.linalg.vector_norm(flat).clamp(min=tiny))
