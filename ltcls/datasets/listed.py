"""Images that a public list names: read, counted, looked for, in the layout that lies there."""

import os
from typing import Callable, NamedTuple, Sequence

import numpy as np

from ltcls.longtail import shot_groups

from .base import DataError
from .files import ImageFileDataset
from .paths import PathTable, find_absent

SHOWN = 5          # missing files that a message names
SAMPLED = 50       # files that decide which layout lies on the disk


class Expected(NamedTuple):
    """What is known of a split: its images, those of its largest and its smallest class."""

    images: int
    largest: int | None = None
    smallest: int | None = None


class ListedImages(ImageFileDataset):
    """Images that a public list or annotation names, checked against what is known of them.

    On construction the classes are counted, and the folders are listed to see that every file is
    there; no file is touched. Paths are kept as one block of bytes.

    Args:
        root: holds the images, and the lists if `lists` does not say where they are.
        split: see the subclass; 'dev' are `held_out` images a class for tuning.
        lists: folder of the list or annotation files.
        layout: one of the class's `layouts` by name; found by looking by default.
        verify: 'exists' (every file is there), or as in ImageFileDataset.
        arguments: of ImageFileDataset and LongTailDataset.

    Raises:
        DataError: what is missing, where it was looked for and how to get it; or counts that are
            not those of the data set.
    """

    title: str
    num_classes: int
    expected: dict[str, Expected]
    groups: tuple[int, int, int] | None = None     # classes with many, medium, few images
    sources: str                                   # where lists and images come from
    # From a listed path to the path on the disk.
    layouts: dict[str, Callable[[str], str]] = {'listed': str}

    def __init__(self, root: str, split: str = 'train', lists: str | None = None,
                 layout: str | None = None, verify: str = 'exists', **arguments):
        if layout is not None and layout not in self.layouts:
            raise DataError(f"{type(self).__name__} got layout='{layout}'; known: "
                            f"{', '.join(self.layouts)}.")
        self.lists = lists
        self.layout = layout
        super().__init__(root=root, split=split, verify=verify, **arguments)

    # What a data set writes.

    def read(self, split: str) -> tuple[PathTable, np.ndarray]:
        """Listed paths and labels int64 [M] of a split."""
        raise NotImplementedError

    def class_names(self, paths: PathTable, labels: np.ndarray) -> list[str]:
        """Names of the classes in label order, from the paths and labels of this split."""
        raise NotImplementedError

    def identity(self, path: str) -> str:
        """A name of the image that does not depend on the list's layout."""
        return path

    # The rest is done once.

    @property
    def pool(self) -> tuple | None:
        return None      # the lists of a data set are apart by themselves

    def scan(self) -> tuple[list[str], np.ndarray]:
        if not os.path.isdir(self.root):
            raise DataError(f'{self.title} was not found: {os.path.abspath(self.root)} is not a '
                            f'folder. {self.remedy}')
        part = self.source_split
        self.paths, labels = self.read(part)
        self._check_counts(part, np.bincount(labels, minlength=self.num_classes))
        self.folder = self.root
        classes = self.classes or self.class_names(self.paths, labels)
        if len(classes) != self.num_classes:
            raise DataError(f'{self.title} has {self.num_classes} classes; classes= names '
                            f'{len(classes)}.')
        return classes, labels

    @property
    def source_split(self) -> str:
        """The split whose list the images come from."""
        return 'train' if self.split == 'dev' else self.split

    @property
    def remedy(self) -> str:
        return (f'{self.sources} `ltcls data link ARCHIVES --root {self.root}` lays them out; '
                '--data-root names another folder.')

    def find_file(self, names: Sequence[str]) -> str | None:
        """The first of these files, or of their .gz forms, in the folders of lists."""
        for folder in self._list_folders():
            for name in names:
                for path in (os.path.join(folder, name), os.path.join(folder, f'{name}.gz')):
                    if os.path.isfile(path):
                        return path
        return None

    def no_list(self, names: Sequence[str]) -> DataError:
        """The error for absent lists."""
        looked = ' and '.join(os.path.abspath(folder) for folder in self._list_folders())
        return DataError(f"{self.title} needs {' or '.join(names)}, which is not in {looked}. "
                         f'{self.remedy}')

    def _list_folders(self) -> list[str]:
        return [self.lists] if self.lists else [self.root, os.path.join(self.root, 'lists')]

    def _check_counts(self, split: str, counts: np.ndarray) -> None:
        known = self.expected[split]
        found = Expected(int(counts.sum()), int(counts.max()), int(counts.min()))
        problem = None
        if found.images != known.images:
            problem = f'{found.images:,} images instead of {known.images:,}'
        elif known.largest is not None and found != known:
            problem = (f'{found.largest} to {found.smallest} images a class instead of '
                       f'{known.largest} to {known.smallest}')
        elif split == 'train' and self.groups is not None:
            groups = tuple(map(len, shot_groups(counts.tolist()).values()))
            if groups != self.groups:
                problem = ('{} classes with many, {} with medium and {} with few images'
                           .format(*groups) + ' instead of {}, {} and {}'.format(*self.groups))
        if problem is not None:
            raise DataError(f'The {split} list of {self.title} has {problem}: it is not the public '
                            f'one, or not whole. {self.sources} For a list of your own use '
                            'FolderLT with a CSV file.')

    def prepare(self) -> dict[int, str]:
        if self.layout is None:
            self.layout = self._find_layout()
        if self.verify != 'exists':
            return super().prepare()
        self.paths = self.paths[self.positions]
        absent = find_absent(self.folder, (os.fsencode(self._place(path)) for path in self.paths))
        if len(absent) and not (self.skip_bad_images and len(absent) < len(self.paths)):
            raise self._missing(absent)
        return dict.fromkeys(absent.tolist(), 'no such file')

    def _find_layout(self) -> str:
        """The layout in which most of some files lie on the disk."""
        if len(self.layouts) == 1:
            return next(iter(self.layouts))
        sample = np.unique(np.linspace(0, len(self.paths) - 1, SAMPLED).astype(np.int64))
        listed = [os.fsdecode(self.paths[index]) for index in sample]
        hits = {name: sum(os.path.exists(os.path.join(self.root, convert(path)))
                          for path in listed) for name, convert in self.layouts.items()}
        return max(hits, key=hits.get)

    def _place(self, path: bytes) -> str:
        """A listed path as it lies below the root."""
        return self.layouts[self.layout](os.fsdecode(path))

    def _missing(self, absent: np.ndarray) -> DataError:
        shown = ', '.join(self._place(self.paths[index]) for index in absent[:SHOWN])
        more = ' and others' if len(absent) > SHOWN else ''
        partly = ('' if len(absent) == len(self.paths)
                  else ' --skip-bad-images goes on without them.')
        return DataError(
            f'{len(absent):,} of {len(self.paths):,} {self.split} images of {self.title} are '
            f'missing below {os.path.abspath(self.folder)}: {shown}{more}. {self.remedy}{partly}'
            f'{self.layout_hint(os.fsdecode(self.paths[absent[0]]))}')

    def layout_hint(self, path: str) -> str:
        """A word on a list that is meant for other archives than those on the disk."""
        return ''

    def path(self, index: int) -> str:
        return os.path.join(self.folder, self._place(self.paths[index]))

    def identities(self) -> list[str]:
        return [self.identity(os.fsdecode(path)) for path in self.paths]
