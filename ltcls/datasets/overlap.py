"""Whether a model would be tested on what it was trained on, or under other names."""

from typing import Sequence

import numpy as np

from .base import NAMELESS, DataError


def renamed(names: Sequence[str], others: Sequence[str]) -> tuple[int, str, str] | None:
    """The first label whose class has another name, and both; None if all agree."""
    shared = set(names) & set(others)
    for label, (one, other) in enumerate(zip(names, others)):
        if one == other or NAMELESS.format(label) in (one, other):
            continue
        # A class without an image to take a name from has its number, which is a name all the
        # same where both sides have a class that is called so: folders 0, 1, 10, 2.
        if str(label) not in (one, other) or str(label) in shared:
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
                        'test_share, split_seed, held_out and selection_seed, or remove these '
                        'images from one.')
