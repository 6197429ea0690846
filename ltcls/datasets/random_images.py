"""A stand-in for any data set, to try a config without its data."""

from typing import Sequence

import numpy as np
import torch

from ltcls.registry import DATASETS

from .base import NAMELESS, DataError, LongTailDataset
from .selection import class_positions

STORED = 8     # different images; a large data set of large images must not fill the memory


@DATASETS.register_module()
class RandomImages(LongTailDataset):
    """Uniform noise with long-tailed labels; every class has an image.

    Args:
        num_classes: C.
        size: height and width in pixels, one number or two.
        num_images: in all; at least one a class is made.
        length: images an epoch, where fewer than one a class are wanted; all of them by default.
        channels: of an image.
        split: any; the images are the same.
        pipeline: as in LongTailDataset; without one, batches are fetched whole.
        classes: names; by default '#0', '#1' and so on, which agree with any other names.
    """

    splits = ('train', 'val', 'test', 'dev')

    def __init__(self, num_classes: int, size: int | Sequence[int] = 32, num_images: int = 64,
                 channels: int = 3, split: str = 'train', pipeline: Sequence = (),
                 classes: Sequence[str] | None = None, length: int | None = None):
        if num_classes < 1 or channels not in (1, 3):
            raise DataError(f'RandomImages got num_classes={num_classes} and channels={channels}; '
                            'it needs a class, and 1 or 3 channels.')
        self.num_classes = num_classes
        self.shape = (channels, size, size) if isinstance(size, int) else (channels, *size)
        self.num_images = max(num_images, num_classes)
        self.length = length
        super().__init__(root=None, split=split, held_out=1 if split == 'dev' else 0,
                         pipeline=pipeline, classes=classes)

    def scan(self) -> tuple[list[str], np.ndarray]:
        names = self.classes or [NAMELESS.format(label) for label in range(self.num_classes)]
        if len(names) != self.num_classes:
            raise DataError(f'RandomImages got num_classes={self.num_classes} and {len(names)} '
                            'names in classes; they must agree.')
        # One image a class, the others on an exponential profile of factor 10.
        shares = 0.1 ** (np.arange(self.num_classes) / max(1, self.num_classes - 1))
        ends = np.cumsum(shares) / shares.sum() * (self.num_images - self.num_classes)
        counts = 1 + np.diff(np.rint(ends).astype(np.int64), prepend=0)
        return names, np.repeat(np.arange(self.num_classes), counts)

    @property
    def pool(self) -> tuple | None:
        return None

    def _select(self, labels: np.ndarray) -> np.ndarray:
        if self.split == 'dev':
            return np.array([group[0] for group in class_positions(labels, self.num_classes)])
        return np.arange(len(labels))

    def prepare(self) -> dict[int, str]:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (STORED, *self.shape), generator=generator,
                                    dtype=torch.uint8)
        return {}

    def __len__(self) -> int:
        return self.length or len(self.labels)

    def load_image(self, index: int):
        return self.images[index % STORED]

    def _fetch(self, indices: Sequence[int]) -> dict:
        indices = torch.as_tensor(indices, dtype=torch.int64)
        batch = super()._fetch(indices % STORED)
        return dict(batch, labels=self._targets[indices.to(self._targets.device)])
