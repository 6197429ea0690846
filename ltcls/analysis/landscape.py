"""The loss along random directions through the weights, for a curve or a surface."""

import itertools
from typing import Iterator, Sequence

import torch
from torch import Tensor

from .perturbation import filter_normalised, generator_of
from .surface import LossSurface, Measured, moved

FIRST_DIRECTION = 1_000     # draws from here on are directions; those before are random probes


def directions(surface: LossSurface, how_many: int, seed: int = 0) -> list[list[Tensor]]:
    """Filter-normalised random directions; the first is the same for a curve and a surface."""
    return [filter_normalised(surface.named, generator_of(seed, FIRST_DIRECTION + k))
            for k in range(how_many)]


def steps_of(reach: float, points: int) -> list[float]:
    """Equal steps from -reach to reach, of which one is 0.

    Raises:
        ValueError: an even number of points, or a reach that is not positive.
    """
    if points < 3 or points % 2 == 0 or reach <= 0:
        raise ValueError(f'{points} points over +-{reach}: give an odd number of at least 3, so '
                         'that one is the trained model, and a positive reach.')
    return [reach * (2 * k / (points - 1) - 1) for k in range(points)]


def walk(surface: LossSurface, along: Sequence[Sequence[Tensor]],
         steps: Sequence[float]) -> Iterator[Measured]:
    """What is measured at weights + a * along[0] (+ b * along[1]), the last coordinate fastest."""
    for place in itertools.product(steps, repeat=len(along)):
        offsets = [torch.zeros_like(p) for p in surface.params]
        for share, direction in zip(place, along):
            offsets = [o + share * d for o, d in zip(offsets, direction)]
        with moved(surface.params, offsets):
            yield surface.evaluate()
