"""Whether a model would be tested on what it was trained on, or under other names."""

from typing import Sequence

import numpy as np

from .base import DataError


def renamed(names: Sequence[str], others: Sequence[str]) -> tuple[int, str, str] | None:
    """The first label whose class has another name, and both; None if all agree."""
    for label, (one, other) in enumerate(zip(names, others)):
        # A number stands for a class without an image to take a name from.
        if one != other and str(label) not in (one, other):
            return label, one, other
    return None


def check_apart(train, tested, name: str) -> None:
    """Compare a data set for testing with the one for training.

    Images are compared where both are drawn from one `pool`, class names wherever both have names.

    Args:
        train, tested: data sets.
        name: of the second one in messages, such as 'test'.

    Raises:
        DataError: a class that has two names, or images that both hold.
    """
    found = renamed(train.metainfo['classes'], tested.metainfo['classes'])
    if found:
        raise DataError("Class {} is '{}' in train_dataloader.dataset and '{}' in ".format(*found)
                        + f'{name}_dataloader.dataset: give both the same classes.')
    pool = getattr(tested, 'pool', None)
    if pool is None or pool != getattr(train, 'pool', None):
        return
    shared = int(np.isin(tested.members, train.members).sum())
    if shared:
        raise DataError(f'{shared:,} of the {len(tested.members):,} images of {name}_dataloader.'
                        'dataset are also in train_dataloader.dataset: give both the same '
                        'test_share, split_seed, held_out and selection_seed.')
