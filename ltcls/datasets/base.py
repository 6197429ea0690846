"""What all data sets share: the cut to a long tail, the held-out set, bad images, fetching."""

import warnings
from functools import cached_property
from typing import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .fingerprint import fingerprint
from .selection import PROFILES, SELECTIONS, class_positions, hold_out, profile_counts
from .transforms import build_pipeline, to_tensor

NAMELESS = '#{}'     # with the label, for a class without a name: a bare number could be one


class DataError(ValueError):
    """The data, or what a config says about it, cannot be used; the message is one line."""


class LongTailDataset(Dataset):
    """Images with labels, optionally cut to a long-tailed profile.

    A sample is dict(inputs=uint8 [3, H, W], labels=int). With images in memory and without a
    pipeline, `__getitems__` returns a whole batch, dict(inputs=uint8 [B, 3, H, W], labels=int64
    [B]), by one indexing operation; `collate_batch` passes it on.

    A subclass writes `scan` and either `load_image`, or `prepare` that fills `images`. After
    construction `labels` is int64 [N] and `metainfo` holds the lists `classes` and `class_counts`.

    Args:
        root: folder of the data.
        split: one of the class attribute `splits`; 'dev' is the held-out part of the training set.
        imbalance: factor n_max / n_min above 1 to cut the training set to; None keeps it.
        profile: 'exponential', 'pareto', 'step' or 'as-is'; class 0 is the head.
        selection: which images stay: 'ldam', 'mwn' (or 'jamal') or 'first'.
        selection_seed: added to the rule's own seed; 0 gives the images of the public code.
        held_out: images a class that are removed from the training set before the tail is cut.
        pipeline: configs of transforms for one image, applied in order.
        skip_bad_images: continue without unreadable images, listed in `skipped`.
        classes: class names in label order.

    Raises:
        DataError: anything in the data or in these arguments that training would stumble over.
    """

    splits: tuple[str, ...] = ('train', 'test', 'dev')
    holding: tuple[str, ...] = ('train', 'dev')      # splits that `held_out` changes

    def __init__(self, root: str | None = None, split: str = 'train',
                 imbalance: float | None = None, profile: str = 'exponential',
                 selection: str = 'ldam', selection_seed: int = 0, held_out: int = 0,
                 pipeline: Sequence = (), skip_bad_images: bool = False,
                 classes: Sequence[str] | None = None):
        self.root = root
        self.split = split
        self.imbalance = imbalance
        self.profile = profile
        self.selection = selection
        self.selection_seed = selection_seed
        self.held_out = held_out
        self.skip_bad_images = skip_bad_images
        self.classes = None if classes is None else [str(name) for name in classes]
        self.images: Tensor | None = None     # uint8 [N, 3, H, W], where they are kept in memory
        self.skipped: list[str] = []
        self._check_arguments()
        self.pipeline = build_pipeline(pipeline)

        self.classes, labels = self.scan()
        self.positions = self._select(labels)
        self.labels = labels[self.positions]
        self._drop(self.prepare())
        counts = np.bincount(self.labels, minlength=len(self.classes))
        self._check_classes(counts)
        self._targets = torch.from_numpy(self.labels)
        self.metainfo = dict(classes=list(self.classes), class_counts=counts.tolist())

    # What a data set writes.

    def scan(self) -> tuple[list[str], np.ndarray]:
        """Class names and the label of every image of the split, int64 [M], in file order.

        For 'dev' the images are those of 'train'.
        """
        raise NotImplementedError

    def prepare(self) -> dict[int, str]:
        """Check or decode the images at `positions`; what is wrong with the bad ones, by index."""
        return {}

    def load_image(self, index: int):
        """A PIL image in mode RGB, or a uint8 tensor [3, H, W]."""
        return self.images[index]

    def source(self, index: int) -> str:
        """Where an image comes from, for errors."""
        return f'image {index} of {type(self).__name__}'

    def hold_out(self, groups: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Ascending positions of the held-out images, and the groups that are left to train on."""
        return hold_out(groups, self.held_out, self.selection_seed, self.classes)

    def identities(self) -> list[str]:
        """One name an image, the same on every machine."""
        return [f'{self.part}/{position}' for position in self.positions.tolist()]

    # What every data set has.

    @property
    def part(self) -> str:
        """The part of the source that the images come from; held-out ones come from 'train'."""
        return 'test' if self.split == 'test' else 'train'

    @property
    def pool(self) -> tuple | None:
        """What `members` belong to: of two data sets with equal pools, equal members are the same
        images. None: not to be compared."""
        return type(self).__name__, self.root, self.part

    @property
    def members(self) -> np.ndarray:
        """One value an image, [N]."""
        return self.positions

    @property
    def cut(self) -> bool:
        """Whether this is a training set cut to a long tail."""
        tailed = self.imbalance is not None and self.imbalance != 1
        return self.split == 'train' and tailed

    @property
    def rule(self) -> str:
        """How the images were chosen, for the fingerprint."""
        if self.cut or self.split == 'dev' or (self.held_out and self.split == 'train'):
            return f'{self.split} {self.selection} seed {self.selection_seed}'
        return self.split

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over class names, selection rule and image identities."""
        return fingerprint(self.metainfo['classes'], self.rule, self.labels.tolist(),
                           self.identities())

    @property
    def class_counts(self) -> list[int]:
        return self.metainfo['class_counts']

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        image = self.load_image(index)
        if self.pipeline is not None:
            image = self.pipeline(image)
        image = to_tensor(image)
        image.source = self.source(index)      # for the error of a batch that it does not fit
        return dict(inputs=image, labels=int(self.labels[index]))

    @property
    def __getitems__(self):
        """The batched fetch, or None where images must pass one by one: torch's loader asks."""
        if self.images is None or self.pipeline is not None:
            return None
        return self._fetch

    def _fetch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        indices = torch.as_tensor(indices, dtype=torch.int64)
        if self.images.is_cuda:      # only from pinned memory does the host not wait for the copy
            indices = indices.pin_memory()
        indices = indices.to(self.images.device, non_blocking=True)
        return dict(inputs=self.images.index_select(0, indices),
                    labels=self._targets.index_select(0, indices))

    def place(self, device: torch.device | str) -> None:
        """Keep the images, and the labels that go with a batch, on this device."""
        self.images = self.images.to(device)
        self._targets = torch.from_numpy(self.labels).to(device)

    # Construction.

    def _check_arguments(self) -> None:
        name = type(self).__name__
        if self.split not in self.splits:
            raise DataError(f"{name} has no split '{self.split}'; it has {', '.join(self.splits)}.")
        if self.imbalance is not None and self.imbalance < 1:
            perhaps = f', here perhaps {1 / self.imbalance:g}' if self.imbalance > 0 else ''
            raise DataError(f'{name} got imbalance={self.imbalance:g}; it is a factor n_max / '
                            f'n_min of at least 1{perhaps}.')
        if self.profile not in (*PROFILES, 'as-is'):
            raise DataError(f"{name} got profile='{self.profile}'; known: "
                            f"{', '.join(PROFILES)}, as-is.")
        if self.profile == 'as-is' and self.imbalance not in (None, 1):
            raise DataError(f"{name} got profile='as-is' and imbalance={self.imbalance:g}; drop "
                            'one of them.')
        if self.selection not in SELECTIONS:
            raise DataError(f"{name} got selection='{self.selection}'; known: "
                            f"{', '.join(SELECTIONS)}.")
        if not isinstance(self.selection_seed, int):
            raise DataError(f'{name} got selection_seed={self.selection_seed}; give an integer, '
                            "0 for the public code's images.")
        if self.held_out < 0 or (self.split == 'dev' and self.held_out < 1):
            raise DataError(f"{name} got split='{self.split}' and held_out={self.held_out}; say "
                            'how many images a class are held out, e.g. held_out=10.')

    def _select(self, labels: np.ndarray) -> np.ndarray:
        """Positions int64 [N] of the images of this split."""
        holds = self.held_out and self.split in self.holding
        if not holds and not self.cut:
            return np.arange(len(labels))
        groups = class_positions(labels, len(self.classes))
        try:
            if holds:
                held, groups = self.hold_out(groups)
                if self.split == 'dev':
                    return held
            if not self.cut:
                return np.sort(np.concatenate(groups))
            counts = profile_counts([len(group) for group in groups], self.imbalance, self.profile)
        except ValueError as error:
            raise DataError(f'{type(self).__name__}: {error}') from None
        return SELECTIONS[self.selection](groups, counts, self.selection_seed)

    def _drop(self, bad: dict[int, str]) -> None:
        """Leave out the images that cannot be used, or say which they are and stop."""
        if not bad:
            return
        names = self.identities()
        listed = [f'{names[index]} ({reason})' for index, reason in sorted(bad.items())]
        count = '1 image' if len(bad) == 1 else f'{len(bad)} images'
        shown = ', '.join(listed[:5]) + (', ...' if len(listed) > 5 else '')
        if not self.skip_bad_images:
            raise DataError(
                f'{count} of {len(names)} in {self.root} cannot be read: {shown}. Replace or '
                'remove what is listed, or go on without: skip_bad_images=True '
                '(--skip-bad-images).')
        warnings.warn(f'{type(self).__name__} goes on without {count} of {len(names)}: {shown}.')
        good = np.ones(len(names), dtype=bool)
        good[list(bad)] = False
        self.skipped = listed
        self.keep(good)

    def keep(self, good: np.ndarray) -> None:
        """Forget the images whose entry in `good`, bool [N], is False."""
        self.positions, self.labels = self.positions[good], self.labels[good]
        if self.images is not None:
            self.images = self.images[torch.from_numpy(good)]

    def _check_classes(self, counts: np.ndarray) -> None:
        empty = [self.classes[label] for label in np.flatnonzero(counts == 0)]
        if not empty:
            return
        shown = ', '.join(f"'{name}'" for name in empty[:5]) + (', ...' if len(empty) > 5 else '')
        if self.split == 'train' or len(empty) == len(counts):
            raise DataError(f'{type(self).__name__}: class {shown} has no usable {self.split} '
                            f'image in {self.root}. Add images, or remove the class.')
        warnings.warn(f'{type(self).__name__}: class {shown} has no {self.split} image, so its '
                      'accuracy will be missing.')
