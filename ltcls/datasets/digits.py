"""The handwritten digits bundled with scikit-learn: real images for a machine without network."""

import numpy as np
import torch

from ltcls.registry import DATASETS

from .base import DataError, LongTailDataset
from .selection import class_positions, class_safe_split

TEST_PER_CLASS = 50
TEST_SEED = 0


@DATASETS.register_module()
class DigitsLT(LongTailDataset):
    """1,797 digits of 8x8 pixels, kept in memory as uint8 [N, 1, 8, 8].

    The test set is balanced: 50 images a class, drawn once with seed 0. The other 1,297, 124 to 133
    a class, are the training pool that is cut to a long tail.

    Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998: the
    test part of it.

    Args:
        root: unused, the images come with scikit-learn.
        split: 'train', 'test' or 'dev'.
        arguments: of LongTailDataset.
    """

    image_size = 8

    def scan(self) -> tuple[list[str], np.ndarray]:
        from sklearn.datasets import load_digits
        digits = load_digits()
        names = self.classes or [str(name) for name in digits.target_names]
        if len(names) != 10:
            raise DataError(f'DigitsLT has 10 classes; classes= names {len(names)}.')
        labels = digits.target.astype(np.int64)
        train, test = class_safe_split(class_positions(labels, 10), per_class=TEST_PER_CLASS,
                                       seed=TEST_SEED)
        self._pool = test if self.split == 'test' else train
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)     # 0 .. 16 in the source
        self._pixels = torch.from_numpy(pixels)[:, None]
        return names, labels[self._pool]

    def prepare(self) -> dict[int, str]:
        # Positions count from here on in scikit-learn's order, which names the images.
        self.positions = self._pool[self.positions]
        self.images = self._pixels[torch.from_numpy(self.positions)]
        del self._pool, self._pixels
        return {}
