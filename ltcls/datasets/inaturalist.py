"""iNaturalist 2017 and 2018: the official annotations, or the public lists made from them."""

import json
import os
import warnings

import numpy as np

from ltcls.registry import DATASETS

from .base import DataError
from .listed import Expected, ListedImages
from .paths import PathTable, read_bytes, read_list
from .selection import hold_out


def _short(node: dict):
    """An image or an annotation as a pair: half a million dicts would fill the memory."""
    if 'file_name' in node:
        return node['id'], node['file_name']
    if 'image_id' in node:
        return node['image_id'], node['category_id']
    return node


def read_annotations(path: str, num_classes: int) -> tuple[PathTable, np.ndarray]:
    """Paths and labels int64 [N] from an official annotation file, in the order of its images.

    Annotations are joined to images by `image_id`; `category_id` is the label.

    Raises:
        DataError: not such a file; an image without exactly one annotation; a label that is no
            integer of 0 .. C - 1.
    """
    try:
        content = json.loads(read_bytes(path), object_hook=_short)
        ids, names = zip(*content['images'])
        images, categories = zip(*content['annotations'])
    except DataError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{path} is not an annotation file of iNaturalist ({error!r}): it lacks '
                        'images and annotations, or is cut off. Fetch it anew.') from None
    for key, column in (('id', ids), ('image_id', images), ('category_id', categories)):
        wrong = [value for value in column if type(value) is not int]
        if wrong:
            raise DataError(f'{path} has {key} {wrong[0]!r}, which is no integer. Fetch it anew.')
    ids, images, categories = np.asarray(ids), np.asarray(images), np.asarray(categories)
    order, by_image = np.argsort(ids, kind='stable'), np.argsort(images, kind='stable')
    if len(ids) != len(images) or not np.array_equal(ids[order], images[by_image]):
        raise DataError(f'{path} annotates {len(np.unique(images)):,} of its {len(ids):,} images '
                        f'with {len(images):,} annotations; each image needs one. Fetch it anew.')
    labels = np.empty(len(ids), dtype=np.int64)
    labels[order] = categories[by_image]
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f'{path} has category_id {labels.min()} to {labels.max()}; there are 0 to '
                        f'{num_classes - 1}. Take the annotations of the right year.')
    return PathTable.pack(names), labels


YEARS = {
    2017: dict(
        num_classes=5089, groups=None,
        expected=dict(train=Expected(579_184), test=Expected(95_986)),
        archives='train_val_images.tar.gz with train_val2017.zip'),
    2018: dict(
        num_classes=8142, groups=(842, 3701, 3599),
        expected=dict(train=Expected(437_513, 1000, 2), test=Expected(24_426, 3, 3)),
        archives='train_val2018.tar.gz with train2018.json.tar.gz and val2018.json.tar.gz'),
}


@DATASETS.register_module()
class INaturalist(ListedImages):
    """iNaturalist 2018: 437,513 images of 8,142 species, 1000 to 2 each; or 2017: 579,184, 5,089.

    The labels of the official test images are not public: 'test' are the official validation
    images, as in every paper. Labels are those of train2018.json and val2018.json, or of the lists
    iNaturalist18_train.txt and iNaturalist18_val.txt, which are read faster; both give the same
    images. Van Horn et al., The iNaturalist Species Classification and Detection Dataset, CVPR
    2018.

    'dev' holds out `held_out` images a class. A class that has no more than these shares them: they
    are in 'train' and in 'dev', and a warning says of how many classes this holds.

    Args:
        year: 2017 or 2018.
        arguments: of ListedImages; root holds train_val2018/ or train_val_images/.
    """

    splits = ('train', 'test', 'dev')

    def __init__(self, root: str, split: str = 'train', year: int = 2018, **arguments):
        if year not in YEARS:
            raise DataError(f'INaturalist got year={year}; known: '
                            f"{', '.join(map(str, YEARS))}.")
        known = YEARS[year]
        self.year = year
        self.title = f'iNaturalist {year}'
        self.num_classes, self.groups = known['num_classes'], known['groups']
        self.expected = known['expected']
        self.small: list[int] = []      # classes whose images are in 'train' and in 'dev'
        self.sources = (f"{known['archives']} are linked from "
                        f'https://github.com/visipedia/inat_comp/tree/master/{year}.')
        super().__init__(root=root, split=split, **arguments)

    def read(self, split: str) -> tuple[PathTable, np.ndarray]:
        part = 'val' if split == 'test' else split
        lists = [f'iNaturalist18_{part}.txt'] if self.year == 2018 else []
        annotations = f'{part}{self.year}.json'
        found = self.find_file(lists)
        if found is not None:
            return read_list(found, self.num_classes)
        found = self.find_file([annotations])
        if found is None:
            raise self.no_list([annotations, *lists])
        return read_annotations(found, self.num_classes)

    def class_names(self, paths: PathTable, labels: np.ndarray) -> list[str]:
        """'Plantae/7291': the folders of a class; its number where a split has no image of it."""
        names = [str(label) for label in range(self.num_classes)]
        present, first = np.unique(labels, return_index=True)
        for label, path in zip(present.tolist(), paths[first]):
            names[label] = '/'.join(os.fsdecode(path).split('/')[1:-1])
        return names

    @property
    def pool(self) -> tuple | None:
        return type(self).__name__, self.root, self.year, self.part

    @property
    def members(self) -> np.ndarray:
        return self.positions[~np.isin(self.labels, self.small if self.split == 'dev' else [])]

    def hold_out(self, groups: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        self.small = small = [label for label, group in enumerate(groups)
                              if len(group) <= self.held_out]
        large = [group for group in groups if len(group) > self.held_out]
        held, rest = hold_out(large, self.held_out, self.selection_seed)
        if small:
            warnings.warn(f'{self.title}: {len(small)} classes have no more than {self.held_out} '
                          'images; these are in the training and in the development set.')
        remaining = iter(rest)
        kept = [group if len(group) <= self.held_out else next(remaining) for group in groups]
        return np.sort(np.concatenate([held, *(groups[label] for label in small)])), kept
