"""A test set with classes that the model has never seen."""

from functools import cached_property
from typing import Sequence

import numpy as np
from torch.utils.data import Dataset

from ltcls.registry import DATASETS

from .base import DataError
from .fingerprint import fingerprint

UNKNOWN = -1


@DATASETS.register_module()
class OpenSet(Dataset):
    """Images of known classes, and in a test set those of unknown classes with the label -1.

    Unknown images come from another data set (`unknown`, e.g. a FolderLT), or from classes of the
    same one that are held out (`held_out`). Held-out classes are left out of a training or
    development set and unknown in a test set; the classes that stay are numbered anew, in their
    order, so `data_preprocessor.num_classes` is smaller by their number.

        train_dataloader = dict(dataset=dict(type='OpenSet', known=dict(type='CIFAR10LT', ...),
                                             held_out=['ship', 'truck']))

    Args:
        known: config of a data set.
        unknown: config of a data set of which every image is unknown; in test sets only.
        held_out: names or numbers of classes of `known`.
        root: folder of `known` instead of the one in its config.
        skip_bad_images: as in LongTailDataset, of both data sets.
        split: of `known` instead of the one in its config, such as 'dev' for sample weights.

    Raises:
        DataError: no unknown classes at all, a held-out class that `known` does not have, fewer
            than two classes left, or `unknown` in a training set.
    """

    def __init__(self, known: dict, unknown: dict | None = None, held_out: Sequence = (),
                 root: str | None = None, skip_bad_images: bool | None = None,
                 split: str | None = None):
        more = {} if skip_bad_images is None else dict(skip_bad_images=skip_bad_images)
        instead = dict(root=root, split=split)
        known = dict(known, **more, **{key: v for key, v in instead.items() if v is not None})
        self.known = DATASETS.build(known)
        self.training = self.known.split in ('train', 'dev')
        if unknown is None and not held_out:
            raise DataError('OpenSet needs unknown classes: unknown=, a data set of them, or '
                            'held_out=, classes of the known one.')
        if unknown is not None and self.training:
            raise DataError(f"OpenSet got unknown= with split='{self.known.split}': unknown images "
                            'belong in a test set.')
        self.unknown = None if unknown is None else DATASETS.build(dict(unknown, **more))
        names = self.known.metainfo['classes']
        held = self._numbers(held_out, names)
        kept = [c for c in range(len(names)) if c not in held]
        if len(kept) < 2:
            raise DataError(f'OpenSet holds out {len(held)} of {len(names)} classes: at least two '
                            'must stay.')
        table = np.full(len(names), UNKNOWN, dtype=np.int64)
        table[kept] = np.arange(len(kept))
        labels = table[np.asarray(self.known.labels)]
        self.places = np.flatnonzero(labels != UNKNOWN) if self.training else np.arange(len(labels))
        strangers = 0 if self.unknown is None else len(self.unknown)
        self.labels = np.concatenate(
            [labels[self.places], np.full(strangers, UNKNOWN, dtype=np.int64)])
        counts = np.bincount(self.labels[self.labels != UNKNOWN], minlength=len(kept))
        self.metainfo = dict(classes=[names[c] for c in kept], class_counts=counts.tolist())

    @staticmethod
    def _numbers(held_out: Sequence, names: list[str]) -> set[int]:
        numbers = set()
        for one in held_out:
            number = names.index(one) if one in names else one
            if not isinstance(number, int) or not 0 <= number < len(names):
                raise DataError(f"OpenSet holds out {one!r}, which is no class of the known data "
                                f"set: {', '.join(names[:12])}{', ...' * (len(names) > 12)}.")
            numbers.add(number)
        return numbers

    @property
    def class_counts(self) -> list[int]:
        return self.metainfo['class_counts']

    @property
    def split(self) -> str:
        return self.known.split

    @property
    def pool(self) -> tuple | None:
        return self.known.pool

    @property
    def members(self) -> np.ndarray:
        return self.known.members

    @property
    def skipped(self) -> list[str]:
        """Images that were left out since they cannot be read."""
        return [*self.known.skipped, *(self.unknown.skipped if self.unknown else ())]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the known class names and all images with their labels here."""
        names = self.known.identities()
        identities = [names[place] for place in self.places]
        if self.unknown is not None:
            identities += [f'unknown/{name}' for name in self.unknown.identities()]
        return fingerprint(self.metainfo['classes'], f'{self.known.rule}, open set',
                           self.labels.tolist(), identities)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        index = range(len(self))[index]
        stranger = index - len(self.places)
        sample = self.known[self.places[index]] if stranger < 0 else self.unknown[stranger]
        return dict(sample, labels=int(self.labels[index]))
