"""ImageNet-LT and Places-LT: the images that the public lists name."""

import os
import re
from typing import Callable

import numpy as np

from ltcls.registry import DATASETS

from .listed import Expected, ListedImages
from .paths import PathTable, read_list


class OLTRLists(ListedImages):
    """The lists of Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019.

    The list of training images also names the classes, so every split needs it. 'dev' are the
    first `held_out` images a class of the validation list; training loses nothing to it, and 'val'
    with the same `held_out` has the other ones.
    """

    splits = ('train', 'val', 'test', 'dev')
    holding = ('dev', 'val')
    prefix: str

    @property
    def source_split(self) -> str:
        return 'val' if self.split == 'dev' else self.split

    @property
    def rule(self) -> str:
        if self.split == 'dev':
            return f'the first {self.held_out} of val'
        if self.split == 'val' and self.held_out:
            return f'val after the first {self.held_out}'
        return super().rule if self.cut else self.split

    def read(self, split: str) -> tuple[PathTable, np.ndarray]:
        names = [f'{self.prefix}_{split}.txt']
        path = self.find_file(names)
        if path is None:
            raise self.no_list(names)
        return read_list(path, self.num_classes)

    def class_names(self, paths: PathTable, labels: np.ndarray) -> list[str]:
        if self.source_split != 'train':
            paths, labels = self.read('train')
        first = np.unique(labels, return_index=True)[1]
        return [self.identity(os.fsdecode(path)).split('/')[0] for path in paths[first]]

    def hold_out(self, groups: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        fewest = min(map(len, groups))
        if fewest < self.held_out:
            raise ValueError(f'held_out={self.held_out} exceeds the {fewest} images a class of the '
                             'validation list; lower it.')
        if self.split == 'val' and fewest == self.held_out:
            raise ValueError(f'held_out={self.held_out} takes all {fewest} images a class of the '
                             'validation list: none are left to validate on; lower it, or use '
                             "split='test'.")
        return (np.sort(np.concatenate([group[:self.held_out] for group in groups])),
                [group[self.held_out:] for group in groups])


def flat_val(path: str) -> str:
    """'val/n01440764/x.JPEG' -> 'val/x.JPEG', as the archive of the validation images unpacks."""
    return re.sub(r'^val/[^/]+/', 'val/', path)


@DATASETS.register_module()
class ImageNetLT(OLTRLists):
    """ImageNet-LT: 115,846 images of 1,000 classes, 1280 to 5 a class.

    'val' are 20 images a class out of ImageNet's training images, for model selection; 'test' are
    ImageNet's 50,000 validation images, in class folders or in one. Liu et al., Large-Scale
    Long-Tailed Recognition in an Open World, CVPR 2019.

    Args:
        arguments: of ListedImages; root holds train/, val/ and ImageNet_LT_train.txt with its kin.
    """

    title = 'ImageNet-LT'
    prefix = 'ImageNet_LT'
    num_classes = 1000
    expected = dict(train=Expected(115_846, 1280, 5), val=Expected(20_000, 20, 20),
                    test=Expected(50_000, 50, 50))
    groups = (385, 479, 136)
    sources = ('The lists are in data/ImageNet_LT of '
               'https://github.com/facebookresearch/classifier-balancing, the images in '
               'ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from '
               'https://image-net.org/download (after registration).')
    layouts = {'listed': str, 'flat-val': flat_val}

    def identity(self, path: str) -> str:
        part, _, inside = path.partition('/')
        return inside.split('/')[-1] if part == 'val' else inside

    def layout_hint(self, path: str) -> str:
        if path.startswith('val/') and path.count('/') == 1:
            return (' The list has the validation images in one folder; for a val/ with class '
                    'folders take the list of classifier-balancing.')
        return ''


def small_archives(size: str) -> Callable[[str], str]:
    """'train/bar-sushi/1.jpg' -> 'data_256/b/bar/sushi/1.jpg', 'val/x/2.jpg' -> 'val_256/2.jpg'."""
    def convert(path: str) -> str:
        part, *inside, file = path.split('/')
        if part == 'train':
            inside = [f'data_{size}', inside[0][0], *inside[0].split('-')]
        elif part == 'val':
            inside = [f'val_{size}']
        elif part.startswith(('data_', 'val_')):
            inside = [f"{part.split('_')[0]}_{size}", *inside]
        return '/'.join([*inside, file])
    convert.__name__ = f'data_{size}'
    return convert


@DATASETS.register_module()
class PlacesLT(OLTRLists):
    """Places-LT: 62,500 images of 365 classes, 4980 to 5 a class.

    'val' are 20 images a class out of the training images of Places365, 'test' its 36,500
    validation images. The lists go round in two forms, train/airfield/1.jpg and
    data_256/a/airfield/1.jpg; both name the same images and have the same fingerprint. Liu et al.,
    Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019.

    Args:
        arguments: of ListedImages; root holds train/ and val/ (the 'easy' archive of Places365), or
            data_256/ and val_256/ (the small images), or data_large/ and val_large/, and
            Places_LT_train.txt with its kin.
    """

    title = 'Places-LT'
    prefix = 'Places_LT'
    num_classes = 365
    expected = dict(train=Expected(62_500, 4980, 5), val=Expected(7_300, 20, 20),
                    test=Expected(36_500, 100, 100))
    groups = (131, 163, 71)
    sources = ('The lists are in data/Places_LT of '
               'https://github.com/facebookresearch/classifier-balancing, the images in '
               'places365standard_easyformat.tar, or in train_256_places365standard.tar and '
               'val_256.tar, from http://places2.csail.mit.edu/download.html.')
    layouts = {'listed': str, '256': small_archives('256'), 'large': small_archives('large')}

    def identity(self, path: str) -> str:
        part, *inside, file = path.split('/')
        if part.startswith('val'):
            return file
        if part.startswith('data_'):
            inside = ['-'.join(inside[1:])]
        return '/'.join([*inside, file])

    def layout_hint(self, path: str) -> str:
        if path.startswith(('data_', 'val_')) and os.path.isdir(os.path.join(self.root, 'train')):
            return (' The lists are those of the small archives, data_256/ and val_256/; for the '
                    'train/ and val/ that lie here take the lists of classifier-balancing.')
        return ''
