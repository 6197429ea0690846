"""Which images of a balanced set make up the long-tailed one: pure functions of labels and seeds.

Positions are indices into the images of the training pool in file order. `groups` holds one
ascending array of positions a class. Every rule keeps its published seeds; `seed` is added to
them, so seed 0 gives the images of the public code.
"""

import bisect
import math
import random
from typing import Callable, Sequence

import numpy as np

from ltcls.longtail import exponential_counts, pareto_counts, step_counts

PROFILES = {'exponential': exponential_counts, 'pareto': pareto_counts, 'step': step_counts}

HELD_OUT_SEED = 6     # of the development sets of Meta-Weight-Net and of Jamal et al., CVPR 2020
MWN_SEED = 42         # of the tail in Jamal's code


def class_positions(labels: np.ndarray, num_classes: int) -> list[np.ndarray]:
    """Ascending positions of every class: a list of C int64 arrays from labels int64 [N]."""
    order = np.argsort(labels, kind='stable')
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))
    return np.split(order, ends[:-1])


def profile_counts(available: list[int], imbalance: float, profile: str) -> list[int]:
    """Class sizes of a long-tailed profile that the available images can fill, length C.

    The head, class 0, is as large as it can be while every class has the images its share asks
    for; for a balanced pool that is the pool's class size.

    Raises:
        ValueError: an unknown profile, or a class that has no image or whose share is below one.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile='{profile}' is unknown; known: {', '.join(PROFILES)}, as-is.")
    if min(available) < 1:
        raise ValueError(f'class {available.index(min(available))} has no images to cut a tail '
                         'from. Add images, or remove the class.')
    sizes = PROFILES[profile]
    found = _fit(available, imbalance, sizes)
    if min(found) < 1:
        raise ValueError(
            f'imbalance={imbalance:g} leaves class {found.index(min(found))} without images: the '
            f'factor must not exceed {_largest_factor(available, imbalance, sizes)}.')
    return found


def _fit(available: list[int], imbalance: float, sizes: Callable) -> list[int]:
    """Class sizes with the largest head that every class can follow; the last may be 0."""
    def counts(largest: int) -> list[int]:
        return sizes(largest, len(available), imbalance)

    def too_large(largest: int) -> bool:
        return any(n > limit for n, limit in zip(counts(largest), available))

    # Up to some size all heads fit, beyond it none does.
    return counts(bisect.bisect_left(range(1, max(available) + 1), True, key=too_large))


def _largest_factor(available: list[int], imbalance: float, sizes: Callable) -> int:
    """The largest whole factor below one that is too strong; 1 always fits."""
    factor, found = imbalance, _fit(available, imbalance, sizes)
    while min(found) < 1:
        # The smallest class is the head over the factor, and a weaker one has no larger head.
        factor = math.ceil(min(factor - 1, found[0]))
        found = _fit(available, factor, sizes)
    return factor


def hold_out(groups: list[np.ndarray], per_class: int, seed: int = 0,
             classes: Sequence[str] = ()) -> tuple[np.ndarray, list[np.ndarray]]:
    """Take `per_class` images of every class out of the pool; `classes` are names for the error.

    One legacy generator, seeded with 6, shuffles the classes in label order; the first images of
    each go to the development set, the rest keeps its file order. As in the public code of Shu et
    al., Meta-Weight-Net, NeurIPS 2019, and Jamal et al., CVPR 2020.

    Returns:
        ascending positions of the held-out images, and the groups without them.

    Raises:
        ValueError: a class with no image left for training.
    """
    generator = np.random.RandomState(HELD_OUT_SEED + seed)
    held, rest = [], []
    for label, group in enumerate(groups):
        if len(group) <= per_class:
            name = repr(classes[label]) if classes else label
            raise ValueError(f'held_out={per_class} takes all {len(group)} images of class '
                             f'{name}; lower it or add images.')
        shuffled = generator.permutation(group)
        held.append(shuffled[:per_class])
        rest.append(np.sort(shuffled[per_class:]))
    return np.sort(np.concatenate(held)), rest


def select_ldam(groups: list[np.ndarray], counts: list[int], seed: int = 0) -> np.ndarray:
    """Shuffle class after class with one generator and keep the first n_c; ordered by class.

    The rule of most public long-tailed CIFAR code, which descends from Cao et al., NeurIPS 2019.
    A class is always shuffled whole, so for one seed a stronger imbalance gives a subset.
    """
    generator = np.random.RandomState(seed)
    return np.concatenate([generator.permutation(group)[:n] for group, n in zip(groups, counts)])


def select_mwn(groups: list[np.ndarray], counts: list[int], seed: int = 0) -> np.ndarray:
    """Shuffle class after class with Python's generator, seeded with 42, and keep the first n_c.

    The rule of Meta-Weight-Net with the seed of Jamal et al. (the former sets none); the images
    stay in file order.
    """
    generator = random.Random(MWN_SEED + seed)
    kept = []
    for group, n in zip(groups, counts):
        shuffled = group.tolist()
        generator.shuffle(shuffled)
        kept.append(np.asarray(shuffled[:n], dtype=np.int64))
    return np.sort(np.concatenate(kept))


def select_first(groups: list[np.ndarray], counts: list[int], seed: int = 0) -> np.ndarray:
    """The first n_c images of every class in file order; the seed has no say."""
    return np.sort(np.concatenate([group[:n] for group, n in zip(groups, counts)]))


SELECTIONS = {'ldam': select_ldam, 'mwn': select_mwn, 'jamal': select_mwn, 'first': select_first}


def class_safe_split(groups: list[np.ndarray], share: float | None = None,
                     per_class: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split every class into training and test images; each keeps at least one for training.

    Args:
        groups: positions a class.
        share: part of each class that is tested, in (0, 1); rounded, and at least one image of a
            class that has two.
        per_class: or the number of test images a class.
        seed: of the one generator that shuffles class after class.

    Returns:
        ascending positions of the training and of the test images.
    """
    generator = np.random.RandomState(seed)
    train, test = [], []
    for group in groups:
        wanted = per_class if share is None else max(1, round(share * len(group)))
        n = min(wanted, len(group) - 1)
        shuffled = generator.permutation(group)
        test.append(shuffled[:n])
        train.append(shuffled[n:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))
