"""The curvature of a loss: largest and smallest eigenvalue and trace of its Hessian."""

from typing import Callable, NamedTuple

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


class Spectrum(NamedTuple):
    """What Lanczos iterations tell of a symmetric matrix; eigenvalues with their sign."""

    top: float             # largest eigenvalue
    bottom: float          # smallest eigenvalue
    residual: float        # bound of the error of the less certain one of the two
    steps: int
    nodes: list[float]     # the eigenvalues of the tridiagonal matrix, ascending, and how much of
    masses: list[float]    # the spectrum each stands for, as seen from the start vector

    @property
    def negativity(self) -> float:
        """|bottom / top| where the bottom is negative, else 0: how far from a minimum."""
        return -self.bottom / self.top if self.bottom < 0 < self.top else 0.0


class Trace(NamedTuple):
    """An estimate and its standard error."""

    value: float
    error: float | None     # None of one draw


def lanczos(product: Product, start: Tensor, steps: int = 40, tolerance: float = 1e-3) -> Spectrum:
    """Both ends of the spectrum of a symmetric matrix, from products with vectors alone.

    Power iteration would find the eigenvalue of largest magnitude, which for a rare class may be a
    negative one; this finds both ends, with their sign. Every new vector is made orthogonal to all
    earlier ones, twice. Ends when both ends are known to `tolerance` of the larger magnitude, when
    the vectors span an invariant space, or after `steps`.

    Lanczos, Journal of Research of the National Bureau of Standards, 1950; the bound of the error
    is Parlett, The Symmetric Eigenvalue Problem, Sec. 13.2.

    Args:
        product: of the matrix with a vector [P].
        start: any vector [P], not zero.

    Raises:
        ValueError: less than one step, or products that are not finite.
    """
    if steps < 1:
        raise ValueError(f'steps={steps} must be at least 1.')
    vector = start / torch.linalg.vector_norm(start)
    basis, diagonal, beside = [], [], []
    while True:
        basis.append(vector)
        image = product(vector)
        diagonal.append(float(image @ vector))
        for _ in range(2):
            for known in basis:
                image = image - (image @ known) * known
        length = float(torch.linalg.vector_norm(image))
        if not torch.isfinite(torch.tensor([diagonal[-1], length])).all():
            raise ValueError('A product with the Hessian is not finite: the weights have diverged.')
        middle, sides = (torch.tensor(v, dtype=torch.float64) for v in (diagonal, beside))
        matrix = torch.diag(middle) + torch.diag(sides, 1) + torch.diag(sides, -1)
        values, vectors = torch.linalg.eigh(matrix)
        scale = float(values.abs().max())
        residual = length * float(vectors[-1, [0, -1]].abs().max())
        spans = length <= 1e-6 * max(scale, 1e-12) or len(basis) == len(start)
        if spans or residual <= tolerance * scale or len(basis) == steps:
            masses = vectors[0].square()
            return Spectrum(float(values[-1]), float(values[0]), 0.0 if spans else residual,
                            len(basis), values.tolist(), masses.tolist())
        beside.append(length)
        vector = image / length


def hutchinson_trace(product: Product, like: Tensor, draws: int = 20,
                     generator: torch.Generator | None = None) -> Trace:
    """The trace as the mean of z'Hz over random vectors z of signs.

    Hutchinson, Communications in Statistics, 1989. The standard error is that of the draws, and
    infinite for one draw.

    Args:
        product: of the matrix with a vector [P].
        like: a vector [P] on the device, in the precision of the products.
    """
    if draws < 1:
        raise ValueError(f'draws={draws} must be at least 1, e.g. 20.')
    values = []
    for _ in range(draws):
        signs = torch.randint(0, 2, like.shape, generator=generator).to(like) * 2 - 1
        values.append(float(product(signs) @ signs))
    found = torch.tensor(values, dtype=torch.float64)
    error = float(found.std() / draws ** 0.5) if draws > 1 else None
    return Trace(float(found.mean()), error)
