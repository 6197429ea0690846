"""The vocabulary of long-tailed learning: pure functions of class counts, the clock, the module base."""

from typing import NamedTuple, Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Clock(NamedTuple):
    """Where training stands. `progress` is the share of all iterations done, in [0, 1)."""

    epoch: int = 0
    max_epochs: int = 1
    progress: float = 0.0


class LongTailModule(nn.Module):
    """A module that is told the training set's class counts and the time.

    Losses and heads derive from it. `clock` is current in every forward.
    """

    clock: Clock = Clock()

    def bind(self, class_counts: Tensor) -> None:
        """Prepare what depends on the counts (float64, shape [C], on the module's device).

        Called before training and before testing, possibly twice. Register results as
        non-persistent float32 buffers: they are derived, and must not tie a checkpoint to them.
        """


def value_at(value: float | Sequence[Sequence[float]], epoch: int) -> float:
    """A number, or the number of the last pair (first epoch, number) that has begun."""
    if isinstance(value, (int, float)):
        return value
    return [number for begin, number in value if begin <= epoch][-1]


def exponential_counts(largest: int, num_classes: int, imbalance: float) -> list[int]:
    """Class sizes int(largest * imbalance ** (-c / (C - 1))), the head first.

    Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019; truncated, in
    double precision, as all public long-tailed CIFAR code does.

    Raises:
        ValueError: imbalance below 1.
    """
    if imbalance < 1:
        raise ValueError(f'imbalance={imbalance} must be a factor of at least 1, e.g. 100.')
    if num_classes < 2:
        return [int(largest)] * num_classes
    return [int(largest * (1 / imbalance) ** (c / (num_classes - 1))) for c in range(num_classes)]


def pareto_counts(largest: int, num_classes: int, imbalance: float, power: float = 6.0) -> list[int]:
    """Class sizes on the quantiles of a Pareto law, the head first, from `largest` to largest / imbalance.

    Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, draw ImageNet-LT
    and Places-LT from a Pareto distribution with power 6. Class c gets the value of rank c, and
    the values are stretched linearly so that the two ends are exact.

    Raises:
        ValueError: imbalance below 1 or power not positive.
    """
    if imbalance < 1 or power <= 0:
        raise ValueError(f'imbalance={imbalance} must be at least 1 and power={power} positive.')
    if num_classes < 2:
        return [int(largest)] * num_classes
    ranks = (np.arange(num_classes) + 0.5) / num_classes
    values = ranks ** (-1 / power)
    values = (values - values[-1]) / (values[0] - values[-1])
    smallest = largest / imbalance
    return [int(smallest + v * (largest - smallest) + 1e-9) for v in values]


def step_counts(largest: int, num_classes: int, imbalance: float) -> list[int]:
    """Class sizes `largest` for the first C // 2 classes and int(largest / imbalance) for the others.

    The step profile of Buda et al., Neural Networks 2018, as used by Cao et al., NeurIPS 2019.

    Raises:
        ValueError: imbalance below 1.
    """
    if imbalance < 1:
        raise ValueError(f'imbalance={imbalance} must be a factor of at least 1, e.g. 100.')
    heads = num_classes // 2 if num_classes > 1 else num_classes
    return [int(largest)] * heads + [int(largest * (1 / imbalance))] * (num_classes - heads)


def effective_numbers(class_counts: Tensor, beta: float | Tensor) -> Tensor:
    """Effective numbers of samples (1 - beta ** n) / (1 - beta), float64, shape [C].

    Cui et al., CVPR 2019, Eq. 2. `beta` in [0, 1) is one number or one a class ([C]); at beta = 0
    every class with images counts 1. Written with expm1 and log1p: for beta near 1 the plain form
    loses the digits that matter.
    """
    counts = torch.as_tensor(class_counts, dtype=torch.float64)
    beta = torch.as_tensor(beta, dtype=torch.float64, device=counts.device)
    if not bool(((beta >= 0) & (beta < 1)).all()):
        raise ValueError(f'beta={beta.tolist()} must lie in [0, 1).')
    # 0 ** n is 1 at n = 0 and 0 above, which exp(n * log(beta)) cannot say.
    powers = torch.where(beta > 0, -torch.expm1(counts * torch.log1p(beta - 1)),
                         (counts > 0).to(counts))
    return powers / (1 - beta)


def effective_number_weights(class_counts: Tensor, beta: float, scale: bool = True) -> Tensor:
    """Class weights (1 - beta) / (1 - beta ** n), scaled to an average of one.

    Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, Sec. 4. A class
    without samples weighs 0 and does not enter the average.

    Args:
        class_counts: samples per class, shape [C].
        beta: in [0, 1); 0 gives equal weights, towards 1 the inverse frequency.
        scale: False for the bare formula.

    Returns:
        float64, shape [C].

    Raises:
        ValueError: beta outside [0, 1).
    """
    counts = torch.as_tensor(class_counts, dtype=torch.float64)
    present = counts > 0
    weights = present / effective_numbers(counts.clamp(min=1), beta)
    return weights * present.sum() / weights.sum() if scale else weights


def class_prior(class_counts: Tensor) -> Tensor:
    """Class frequencies n_c / N of the training set, float64, shape [C]."""
    counts = torch.as_tensor(class_counts, dtype=torch.float64)
    return counts / counts.sum()


def log_cloud_sizes(class_counts: Tensor) -> Tensor:
    """log n_max - log n_c divided by its maximum, float64, shape [C]; all zero for equal counts.

    Li et al., Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment, CVPR 2022,
    Eq. 9. A class without images counts as one image.
    """
    logs = torch.as_tensor(class_counts, dtype=torch.float64).clamp(min=1).log()
    sizes = logs.max() - logs
    return sizes / sizes.max().clamp(min=torch.finfo(torch.float64).tiny)


SHOT_RULES = {
    # name: (many if count > first, few if count < second)
    'counts': (100, 20),
    'oltr': (99, 21),      # many >= 100, few <= 20: the OLTR repository and its descendants
    'ccsam': (99, 21),     # the same borders, by the name its users look for
}
INDEX_RULES = {
    # name: for a number of classes, the first medium and the first few index
    'index-gnm': {100: (36, 71)},
    'index-mislas': {10: (3, 7), 100: (36, 71)},
}


def shot_groups(class_counts: Sequence[int], rule: str | Sequence[int] = 'counts') -> dict[str, list[int]]:
    """Class indices of the groups many, medium and few.

    Args:
        class_counts: training images a class, length C.
        rule: 'counts' (many > 100, medium 20 to 100, few < 20); 'oltr' or 'ccsam' (>= 100, <= 20);
            'index-gnm' or 'index-mislas' (fixed index ranges of CIFAR-LT); 'thirds' (the classes
            sorted by count, cut in three); or two numbers (a, b): many > a, few < b.

    Raises:
        ValueError: an unknown rule, two numbers that put a class in many and in few, or an index
            rule for another number of classes.
    """
    counts = [int(n) for n in class_counts]
    classes = range(len(counts))
    if rule == 'thirds':
        order = sorted(classes, key=lambda c: (-counts[c], c))
        cuts = [round(len(order) / 3), round(2 * len(order) / 3)]
        many, few = set(order[:cuts[0]]), set(order[cuts[1]:])
    elif isinstance(rule, str) and rule in INDEX_RULES:
        if len(counts) not in INDEX_RULES[rule]:
            raise ValueError(f"Group rule '{rule}' is defined for {sorted(INDEX_RULES[rule])} "
                             f'classes, not for {len(counts)}.')
        medium_from, few_from = INDEX_RULES[rule][len(counts)]
        many, few = set(range(medium_from)), set(range(few_from, len(counts)))
    else:
        if isinstance(rule, str) and rule not in SHOT_RULES:
            known = ', '.join([*SHOT_RULES, *INDEX_RULES, 'thirds'])
            raise ValueError(f"Unknown group rule '{rule}'; known: {known}, or two numbers.")
        above, below = SHOT_RULES[rule] if isinstance(rule, str) else _borders(rule)
        many = {c for c in classes if counts[c] > above}
        few = {c for c in classes if counts[c] < below}
    return {
        'many': [c for c in classes if c in many],
        'medium': [c for c in classes if c not in many and c not in few],
        'few': [c for c in classes if c in few],
    }


def _borders(rule: Sequence[int]) -> tuple[int, int]:
    """The two numbers of a group rule, between which no class is in both many and few."""
    hint = 'give two numbers (a, b), many > a and few < b, e.g. (100, 20).'
    numbers = isinstance(rule, (list, tuple)) and all(isinstance(n, (int, float)) for n in rule)
    if not numbers or len(rule) != 2:
        raise ValueError(f'Group rule {rule} is no name and not two numbers: {hint}')
    above, below = rule
    if np.floor(above) + 1 < below:
        raise ValueError(f'Group rule {rule} would put a class in many and in few: {hint}')
    return above, below
