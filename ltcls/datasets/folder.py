"""A user's own images: class folders, or a CSV that lists them."""

import csv
import os
from typing import Sequence

import numpy as np

from ltcls.registry import DATASETS

from .base import DataError
from .files import ImageFileDataset, subfolders, unreadable
from .paths import PathTable
from .selection import class_positions, class_safe_split

COLUMNS = ('path', 'label', 'split')


@DATASETS.register_module()
class FolderLT(ImageFileDataset):
    """Images in class folders, or listed in a CSV file.

    Folders: root/train/<class>/..., root/test/<class>/... and perhaps root/val; or
    root/<class>/..., from which test images are drawn class by class. A CSV has the columns path
    (relative to root), label (a name or a number) and split (train, val or test). The classes are
    the training folders in alphabetical order, or the training labels in alphabetical or numerical
    order, unless `classes` says else.

    Args:
        root: folder of the images; with `csv`, its own folder by default.
        split: 'train', 'val', 'test' or 'dev'.
        csv: file that lists the images, relative to the working directory.
        test_share: part of each class to test on, where there is no test split; every class keeps
            a training image.
        test_per_class: or the number of test images a class.
        split_seed: of that draw.
        class_slice: start, stop and perhaps step of the class folders that are used, in label
            order; the others are left alone. [0, 100, 2] is every second of the first hundred.
        arguments: of ImageFileDataset and LongTailDataset.
    """

    splits = ('train', 'val', 'test', 'dev')

    def __init__(self, root: str | None = None, split: str = 'train', csv: str | None = None,
                 test_share: float | None = None, test_per_class: int | None = None,
                 split_seed: int = 0, class_slice: Sequence[int | None] | None = None,
                 **arguments):
        if root is None and csv is None:
            raise DataError('FolderLT needs root=, a folder of class folders, or csv=, a list of '
                            'images.')
        if test_share is not None and test_per_class is not None:
            raise DataError(f'FolderLT got test_share={test_share} and test_per_class='
                            f'{test_per_class}; drop one of them.')
        if test_share is not None and not 0 < test_share < 1:
            raise DataError(f'FolderLT got test_share={test_share}; it lies between 0 and 1, e.g. '
                            '0.2.')
        if test_per_class is not None and test_per_class < 1:
            raise DataError(f'FolderLT got test_per_class={test_per_class}; it is at least 1.')
        if class_slice is not None and (csv is not None or len(class_slice) not in (2, 3)):
            raise DataError(f'FolderLT got class_slice={class_slice}; it is [start, stop] or '
                            '[start, stop, step], for class folders only.')
        self.csv = csv
        self.class_slice = class_slice
        self.test_share = test_share
        self.test_per_class = test_per_class
        self.split_seed = split_seed
        super().__init__(root=root or os.path.dirname(csv) or '.', split=split, **arguments)
        self._check_sizes()

    @property
    def draws_test(self) -> bool:
        return self.test_share is not None or self.test_per_class is not None

    @property
    def rule(self) -> str:
        if not self.draws_test:
            return super().rule
        drawn = f'share {self.test_share} per class {self.test_per_class} seed {self.split_seed}'
        return f'{super().rule}, test {drawn}'

    def scan(self) -> tuple[list[str], np.ndarray]:
        if self.csv is not None:
            return self._scan_csv()
        if not os.path.isdir(self.root):
            raise DataError(f'{os.path.abspath(self.root)} is not a folder. Put the images there '
                            'as train/<class>/ and test/<class>/, or as <class>/ with '
                            'test_share=0.2.')
        folders = subfolders(self.root)
        # A folder 'train' that holds images and no folders is a class of that name.
        if 'train' in folders and subfolders(os.path.join(self.root, 'train')):
            return self._scan_split_folders(folders)
        if self._is_tested_alone(folders):
            return self._scan_tested(os.path.join(self.root, self.split))
        if not folders:
            raise DataError(f'{os.path.abspath(self.root)} holds no class folders. It needs one '
                            'folder a class, or train/ and test/ with one folder a class in each.')
        classes = self._ordered(folders, self.root)
        labels = self.scan_tree(self.root, classes, self._others(folders))
        return classes, self._draw(labels, classes)

    def _scan_split_folders(self, folders: list[str]) -> tuple[list[str], np.ndarray]:
        if self.draws_test:
            raise DataError(f'{self.root} has a train folder, so nothing is drawn from it: drop '
                            'test_share and test_per_class.')
        part = 'train' if self.split == 'dev' else self.split
        if part not in folders:
            raise DataError(f"{self.root} has no folder '{part}', only {', '.join(folders)}. Add "
                            f'{part}/<class>/, or use the class folders alone with test_share=0.2.')
        train = os.path.join(self.root, 'train')
        found = subfolders(train)
        classes = self._ordered(found, train)
        return classes, self.scan_tree(os.path.join(self.root, part), classes, self._others(found))

    def _is_tested_alone(self, folders: list[str]) -> bool:
        """Whether there are class folders of this split, and none to train on."""
        alone = self.split in ('val', 'test') and self.split in folders and 'train' not in folders
        inside = os.path.join(self.root, self.split)
        return alone and not self.draws_test and bool(subfolders(inside))

    def _scan_tested(self, folder: str) -> tuple[list[str], np.ndarray]:
        if self.classes is None or self.class_slice is not None:
            raise DataError(f'{self.root} has no folder train to take the class names from. Name '
                            'them in label order: classes=[...].')
        return self.classes, self.scan_tree(folder, self.classes)

    def _ordered(self, found: list[str], folder: str) -> list[str]:
        """The class names in label order; every one of `classes` has its folder."""
        absent = sorted(set(self.classes or ()) - set(found))
        if absent:
            raise DataError(f"classes= names '{absent[0]}', but {folder} has no such folder. Add "
                            'it, or remove the name.')
        names = self.classes or found
        if self.class_slice is None:
            return names
        chosen = names[slice(*self.class_slice)]
        if not chosen:
            raise DataError(f'class_slice={list(self.class_slice)} leaves none of the {len(names)} '
                            f'classes in {folder}.')
        return chosen

    def _others(self, found: list[str]) -> list[str]:
        """Folders that are no class and may be there all the same."""
        return [] if self.class_slice is None else found

    def _draw(self, labels: np.ndarray, classes: list[str]) -> np.ndarray:
        """Keep the training or the test part of a pool without splits."""
        if not self.draws_test:
            if self.split in ('val', 'test'):
                raise DataError(f"{self.root} has no split '{self.split}'. Say how to draw test "
                                'images: test_share=0.2 or test_per_class=10, the same for '
                                'training.')
            return labels
        if self.split == 'val':
            raise DataError("FolderLT draws only a test set; use split='test', or held_out with "
                            "split='dev'.")
        train, test = class_safe_split(class_positions(labels, len(classes)), self.test_share,
                                       self.test_per_class, self.split_seed)
        chosen = test if self.split == 'test' else train
        self.paths = self.paths[chosen]
        return labels[chosen]

    def _scan_csv(self) -> tuple[list[str], np.ndarray]:
        rows = self._read_csv()
        if self.classes is None:
            # Those of the training lines: a name that is only tested was never learned.
            found = {label for _, _, label, split in rows if split == 'train'}
            numbers = all(label.isdecimal() for label in found)
            self.classes = sorted(found, key=int) if numbers else sorted(found)
        codes = {name: code for code, name in enumerate(self.classes)}
        if not any(label in codes for _, _, label, _ in rows):
            # The labels are numbers that count the names in classes=.
            codes = {str(code): code for code in codes.values()}
        part = 'train' if self.split == 'dev' or self.draws_test else self.split
        paths, labels, lines = [], [], {}
        for line, path, label, split in rows:
            if label not in codes:
                raise DataError(f"{self.csv}, line {line}: label '{label}' is not among the "
                                f'{len(self.classes)} classes of the training lines, or of '
                                'classes=. Correct or remove it, or add training images of it.')
            if path in lines:
                raise DataError(f'{self.csv}, line {line}: {path} was already listed in line '
                                f'{lines[path]}. Remove one of them.')
            lines[path] = line
            if split == part:
                paths.append(path)
                labels.append(codes[label])
        if not paths:
            raise DataError(f"{self.csv} lists no image with split '{part}'. Add some, or choose "
                            'another split.')
        self.folder = self.root
        self.paths = PathTable.pack(paths)
        labels = np.asarray(labels, dtype=np.int64)
        return self.classes, self._draw(labels, self.classes) if self.draws_test else labels

    def _read_csv(self) -> list[tuple[int, str, str, str]]:
        """Line number, path relative to root, label and split of every line."""
        if not os.path.isfile(self.csv):
            raise DataError(f'{os.path.abspath(self.csv)} does not exist. csv= names a file with '
                            f"the columns {', '.join(COLUMNS)}.")
        try:
            with open(self.csv, encoding='utf-8-sig', newline='') as file:
                return self._read_rows(csv.DictReader(file, skipinitialspace=True))
        except UnicodeDecodeError as error:
            raise DataError(f'{self.csv} is not UTF-8 text ({error.reason} at byte {error.start}). '
                            'Save it as UTF-8.') from None
        except csv.Error as error:
            raise DataError(f'{self.csv} is no CSV file: {error}.') from None

    def _read_rows(self, reader: csv.DictReader) -> list[tuple[int, str, str, str]]:
        columns = reader.fieldnames or []
        needed = COLUMNS[:2] if self.draws_test else COLUMNS
        absent = [name for name in needed if name not in columns]
        if absent:
            raise DataError(f"{self.csv} lacks the column {', '.join(absent)}: its first line is "
                            f"'{','.join(columns)}'. It needs {','.join(needed)}, separated by "
                            'commas' + ('.' if self.draws_test else
                                        '; without split say test_share=0.2.'))
        if self.draws_test and 'split' in columns:
            raise DataError(f'{self.csv} has a column split, so nothing is drawn: drop test_share '
                            'and test_per_class, or the column.')
        rows = []
        for row in reader:
            path, label, split = ((row.get(name) or '').strip() for name in COLUMNS)
            if self.draws_test:
                split = 'train'
            if '\0' in path + label:
                raise DataError(f'{self.csv}, line {reader.line_num}, holds a NUL byte. Save it as '
                                'plain text.')
            if not path or not label or split not in ('train', 'val', 'test'):
                raise DataError(f"{self.csv}, line {reader.line_num}: path '{path}', label "
                                f"'{label}', split '{split}'; each is needed, split as train, val "
                                'or test.')
            rows.append((reader.line_num, self._relative(path), label, split))
        return rows

    def _relative(self, path: str) -> str:
        path = os.path.relpath(path, self.root) if os.path.isabs(path) else os.path.normpath(path)
        return path.replace(os.sep, '/')

    def _check_sizes(self) -> None:
        """Without a pipeline nothing makes images equal in size, and a batch needs that."""
        if self.pipeline is not None or self.images is not None or self.verify == 'none':
            return
        from PIL import Image
        first = None
        for index in range(len(self)):
            try:
                with Image.open(self.path(index)) as image:
                    size = image.size
            except OSError as error:
                raise unreadable(self.path(index), error) from None
            first = first or size
            if size != first:
                raise DataError(
                    f'{self.path(index)} is {size[0]}x{size[1]} and {self.path(0)} is '
                    f'{first[0]}x{first[1]}: a batch needs one size. Add Resize and CenterCrop, or '
                    'RandomResizedCrop, to the pipeline.')
