"""How much the loss changes when the weights are moved: at random, or up the gradient."""

from typing import Callable, Iterable, NamedTuple, Sequence

import torch
from torch import Tensor

from .surface import LossSurface, Measured, moved

KINDS = {
    'gaussian': 'variance of each weight',
    'relative': "length, in the tensor's length",
    'filter': "length, in the filter's length",
    'uniform': 'width of the interval around 0',
}


class Noise(NamedTuple):
    """A law of random perturbations.

    'gaussian' draws every weight from N(0, scale). 'relative' scales a Gaussian draw to `scale`
    times the tensor's own expected length, 'filter' each filter to exactly `scale` times the
    filter's own length, as loss landscapes do: a network with batch norm computes the same with
    larger weights, and only these two compare such networks fairly. 'uniform' draws from
    [-scale / 2, scale / 2].
    """

    kind: str
    scale: float

    @classmethod
    def parse(cls, text: str) -> 'Noise':
        """'filter:0.1' -> Noise('filter', 0.1).

        Raises:
            ValueError: anything else.
        """
        kind, _, scale = text.partition(':')
        try:
            found = cls(kind, float(scale))
        except ValueError:
            found = None
        if found is None or kind not in KINDS or not found.scale > 0:
            known = ', '.join(f'{name}:SCALE ({what})' for name, what in KINDS.items())
            raise ValueError(f"Noise '{text}' is unknown; write one of {known}.")
        return found

    def draw(self, named: dict[str, Tensor], generator: torch.Generator) -> list[Tensor]:
        """One offset for each parameter; drawn on the CPU, so every device gets the same."""
        if self.kind == 'filter':
            return [self.scale * d for d in filter_normalised(named, generator)]
        offsets = []
        for p in named.values():
            if self.kind == 'uniform':
                unit = torch.rand(p.shape, generator=generator) - 0.5
                factor = self.scale
            else:
                unit = torch.randn(p.shape, generator=generator)
                factor = (self.scale ** 0.5 if self.kind == 'gaussian'
                          else self.scale * p.detach().norm().item() / p.numel() ** 0.5)
            offsets.append(factor * unit.to(p))
        return offsets


def filter_normalised(named: dict[str, Tensor], generator: torch.Generator) -> list[Tensor]:
    """A random direction, each filter of it as long as the filter of the weights.

    d_i <- d_i * |w_i| / (|d_i| + 1e-10). A filter is what belongs to one output: an index of the
    first dimension. Of three-dimensional parameters (prompts, position embeddings) it is a token,
    the last dimension. Parameters of one dimension, biases and those of norm layers, do not move.

    Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, Sec. 4.
    """
    directions = []
    for p in named.values():
        # Drawn for every parameter: the same seed means the same plane for a part and the whole.
        direction = torch.randn(p.shape, generator=generator).to(p)
        if p.dim() < 2:
            directions.append(torch.zeros_like(direction))
            continue
        across = (2,) if p.dim() == 3 else tuple(range(1, p.dim()))
        lengths = torch.linalg.vector_norm(p.detach(), dim=across, keepdim=True)
        own = torch.linalg.vector_norm(direction, dim=across, keepdim=True)
        directions.append(direction * lengths / (own + 1e-10))
    return directions


def generator_of(seed: int, draw: int) -> torch.Generator:
    """The generator of one draw: models of one architecture get the same draws."""
    return torch.Generator().manual_seed(1_000_003 * seed + draw)


def probe(evaluate: Callable[[], Measured], params: Sequence[Tensor],
          offsets: Iterable[Sequence[Tensor]]) -> tuple[Measured, list[Measured]]:
    """What `evaluate` returns at the weights, and at the weights plus each of the offsets."""
    base, drawn = evaluate(), []
    for offset in offsets:
        with moved(params, offset):
            drawn.append(evaluate())
    return base, drawn


def random_probe(surface: LossSurface, noise: Noise, draws: int = 5,
                 seed: int = 0) -> tuple[Measured, list[Measured]]:
    """`probe` at random perturbations of the surface's parameters.

    Zhou et al., Class-Conditional Sharpness-Aware Minimization for Deep Long-Tailed Recognition,
    CVPR 2023, compare methods by five perturbed copies of each; they print no law of the noise.

    Raises:
        ValueError: no draws.
    """
    if draws < 1:
        raise ValueError(f'draws={draws} must be at least 1, better 5.')
    offsets = (noise.draw(surface.named, generator_of(seed, t)) for t in range(draws))
    return probe(surface.evaluate, surface.params, offsets)


def fluctuation(loss: float, losses: Sequence[float]) -> dict[str, float]:
    """How the losses at perturbed weights spread around the loss at the weights.

    Returns:
        mean, std (of the population), min and max of the losses; rise: mean of L_t - L; rise_max;
        rise_rms: root of the mean of (L_t - L)^2; relative: rise / L, None at a loss of zero.
    """
    values = torch.as_tensor(losses, dtype=torch.float64)
    rises = values - loss
    rise = float(rises.mean())
    return dict(mean=float(values.mean()), std=float(values.std(correction=0)),
                min=float(values.min()), max=float(values.max()), rise=rise,
                rise_max=float(rises.max()), rise_rms=float(rises.square().mean().sqrt()),
                relative=rise / loss if loss > 0 else None)


def sam_offset(gradient: Sequence[Tensor], params: Sequence[Tensor], rho: float,
               adaptive: bool = False) -> list[Tensor]:
    """The perturbation of SAM, rho * g / |g|; adaptive, of ASAM: rho * w^2 g / |w g|.

    Foret et al., Sharpness-Aware Minimization, ICLR 2021, Eq. 2; Kwon et al., ASAM, ICML 2021,
    Eq. 10, with |w| as the scale of every parameter.
    """
    scales = [p.detach().abs() if adaptive else torch.ones_like(p) for p in params]
    scaled = [s * g for s, g in zip(scales, gradient)]
    length = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(d) for d in scaled]))
    return [rho * s * d / (length + 1e-12) for s, d in zip(scales, scaled)]


def sam_sharpness(surface: LossSurface, classes: Sequence[int], gradient: Sequence[Tensor],
                  rho: float, adaptive: bool = False) -> float:
    """How much the mean loss of these classes rises to its worst nearby point, to first order.

    Args:
        gradient: of that loss, as from `surface.gradient(classes)`.
    """
    with moved(surface.params, sam_offset(gradient, surface.params, rho, adaptive)):
        worst = surface.loss(classes)
    return worst - surface.loss(classes)
