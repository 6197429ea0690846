"""Model perturbation: the mean gradient over several random points nearby."""

import torch
from torch import Tensor

from ltcls.registry import OPTIM_WRAPPERS

from .objective import Objective
from .perturbed import PerturbedOptimWrapper

DISTRIBUTIONS = ('uniform', 'gaussian', 'discrete_beta')
BETA_SHAPES = (0.3, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)


@OPTIM_WRAPPERS.register_module()
class ModelPerturbation(PerturbedOptimWrapper):
    """Minimises the mean loss over `draws` random perturbations of the weights.

    Shi et al., Overcoming Catastrophic Forgetting in Incremental Few-Shot Learning by Finding Flat
    Minima, NeurIPS 2021, Eq. 2, without the term for class prototypes, whose published code has no
    gradient. One pass a draw; which weights are perturbed, `include` says.

    Args:
        draws: M, at least 1.
        distribution: 'uniform' on [-bound / 2, bound / 2], as the paper; 'gaussian'; or
            'discrete_beta': two shape numbers for the whole draw, then a beta variable for every
            scalar, rounded to five levels of the same interval, as the authors' code.
        bound: width of the interval; 0 is the plain step.
        variance: of 'gaussian'; 0 is the plain step.
        std_weight: adds this times the sample standard deviation of the M losses.
        options: see `PerturbedOptimWrapper`.

    Raises:
        ValueError: a value outside these.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, draws: int = 2,
                 distribution: str = 'uniform', bound: float = 0.01, variance: float = 1e-4,
                 std_weight: float = 0.0, **options):
        super().__init__(optimizer, **options)
        if distribution not in DISTRIBUTIONS:
            raise ValueError(f"ModelPerturbation got distribution='{distribution}'; use "
                             f"{', '.join(DISTRIBUTIONS)}.")
        if draws < 1 or bound < 0 or variance < 0 or std_weight < 0:
            raise ValueError(f'ModelPerturbation got draws={draws}, bound={bound}, variance='
                             f'{variance}, std_weight={std_weight}; draws must be at least 1, the '
                             'others at least 0.')
        if std_weight and draws == 1:
            raise ValueError('ModelPerturbation: std_weight needs at least 2 draws.')
        self.draws, self.distribution = draws, distribution
        self.bound, self.variance, self.std_weight = bound, variance, std_weight

    def accumulate_grad(self, objective: Objective) -> None:
        if not (self.variance if self.distribution == 'gaussian' else self.bound):
            return self.backward(objective().mean())
        if not self.std_weight:
            for _ in range(self.draws):
                with self.perturbed(self.noise(self.draw)):
                    self.backward(objective().mean() / self.draws)
            return
        everything, losses, grads = self._trainable(), [], []
        for _ in range(self.draws):
            with self.perturbed(self.noise(self.draw)):
                losses.append(objective().mean())
                grads.append(self.gradient(losses[-1], everything))
        values = torch.stack(losses).detach()
        # d std / d loss_m; equal losses have no spread to lower.
        slopes = (values - values.mean()) / ((self.draws - 1) * values.std().clamp(min=1e-12))
        for grad, slope in zip(grads, slopes):
            self.add_gradient(grad, 1 / self.draws + self.std_weight * slope, params=everything)

    def draw(self, flat: Tensor) -> None:
        """Fill `flat` with noise."""
        if self.distribution == 'gaussian':
            flat.normal_(0, self.variance ** 0.5)
        elif self.distribution == 'uniform':
            flat.uniform_(-self.bound / 2, self.bound / 2)
        else:
            a, b = (BETA_SHAPES[i] for i in torch.randint(len(BETA_SHAPES), (2,)).tolist())
            beta = torch.distributions.Beta(flat.new_full((), a), flat.new_full((), b),
                                            validate_args=False)      # which would wait
            levels = (beta.sample(flat.shape) * 4).round() / 4 - 0.5
            flat.copy_(levels * self.bound)
