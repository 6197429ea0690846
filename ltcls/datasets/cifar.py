"""CIFAR-10 and CIFAR-100, cut to a long tail: the official release, or a tree of image files."""

import os
from contextlib import suppress

import numpy as np
import torch
from filelock import FileLock

from ltcls.registry import DATASETS

from .base import DataError, LongTailDataset
from .files import ImageFileDataset, subfolders


class CIFARLT(ImageFileDataset):
    """Kept in memory; read from the official Python release or from files in class folders.

    The tree has train/<class>/<file> and test/<class>/<file>; the alphabetical order of the folders
    is the order of the labels, as it is in the release.

    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; cut to a long tail as
    in Cao et al., NeurIPS 2019.

    Args:
        root: holds the release (cifar-10-batches-py or cifar-100-python), or the tree.
        download: fetch the release through torchvision when it is absent.
        arguments: of LongTailDataset.
    """

    num_classes: int
    image_size = 32       # of the random images of a dry run
    release: str          # the class of torchvision.datasets that reads it

    def __init__(self, root: str, split: str = 'train', download: bool = True, **arguments):
        self.download = download
        self.released = False     # whether the images come from the release
        super().__init__(root=root, split=split, in_memory=True, **arguments)

    def scan(self) -> tuple[list[str], np.ndarray]:
        tree = os.path.join(self.root, 'train')
        if not os.path.isdir(tree):
            return self._scan_release()
        names = self.classes or subfolders(tree)
        if len(names) != self.num_classes:
            raise DataError(f'{type(self).__name__} has {self.num_classes} classes, but {tree} '
                            f'holds {len(names)} class folders. Check root, or use FolderLT.')
        folder = os.path.join(self.root, self.part)
        absent = sorted(set(names) - set(subfolders(folder))) if os.path.isdir(folder) else names
        if absent:
            raise DataError(f"{folder} lacks the class folder '{absent[0]}'. Complete the tree, or "
                            'point root at the official release.')
        return names, self.scan_tree(folder, names)

    def _scan_release(self) -> tuple[list[str], np.ndarray]:
        data = self._read_release(self.part == 'train')
        names = self.classes or list(data.classes)
        if len(names) != self.num_classes:
            raise DataError(f'{type(self).__name__} has {self.num_classes} classes; classes= names '
                            f'{len(names)}.')
        self.released = True
        self._pool = data.data
        return names, np.asarray(data.targets, dtype=np.int64)

    def _read_release(self, train: bool):
        """torchvision's data set, after a download where it is absent and allowed."""
        import torchvision
        reader = getattr(torchvision.datasets, self.release)
        try:
            return reader(self.root, train=train)
        except RuntimeError:      # torchvision's word for absent or damaged files
            problem = 'download=False'
        if self.download:
            problem = self._download(reader)
            try:
                return reader(self.root, train=train)
            except RuntimeError:
                pass
        problem = ' '.join(problem.split())
        raise DataError(
            f'{self.release} was not found in {os.path.abspath(self.root)}, and {problem}. Unpack '
            f'{reader.url} there, or point root at a tree train/<class>/*.jpg, test/<class>/*.jpg.')

    def _download(self, reader) -> str:
        """One process of each machine that lacks the data downloads it; returns what went wrong.

        The others wait for a lock and not for a rank, since some may have found the data.
        """
        root = os.path.abspath(self.root)
        existed = os.path.isdir(root)
        try:
            os.makedirs(os.path.dirname(root), exist_ok=True)
            with FileLock(f'{root}.lock'):
                reader(self.root, train=True, download=True)      # looks first what is there
        except (OSError, RuntimeError) as error:
            if not existed:                  # torchvision makes the folder before it downloads
                with suppress(OSError):
                    os.rmdir(root)
            return f'the download failed ({error})'
        finally:
            with suppress(OSError):
                os.remove(f'{root}.lock')
        return 'the download failed'

    def prepare(self) -> dict[int, str]:
        if not self.released:
            return super().prepare()
        chosen = torch.from_numpy(self._pool[self.positions])
        del self._pool
        self.images = chosen.permute(0, 3, 1, 2).contiguous()
        return {}

    def identities(self) -> list[str]:
        return LongTailDataset.identities(self) if self.released else super().identities()

    # By place, in the tree as in the release.
    pool = LongTailDataset.pool
    members = LongTailDataset.members


@DATASETS.register_module()
class CIFAR10LT(CIFARLT):
    """CIFAR-10-LT: at imbalance 100, 12,406 training images, 5000 to 50 a class; see CIFARLT."""

    num_classes = 10
    release = 'CIFAR10'


@DATASETS.register_module()
class CIFAR100LT(CIFARLT):
    """CIFAR-100-LT: at imbalance 100, 10,847 training images, 500 to 5 a class; see CIFARLT.

    Any tree of 100 class folders can stand in for it.
    """

    num_classes = 100
    release = 'CIFAR100'
