from .base import DataError, LongTailDataset
from .cifar import CIFAR10LT, CIFAR100LT
from .decoding import OpenCVRandomResizedCrop, OpenCVResize
from .digits import DigitsLT
from .fingerprint import fingerprint
from .folder import FolderLT
from .image_list import ImageNetLT, PlacesLT
from .inaturalist import INaturalist
from .loading import collate_batch, seed_worker
from .open_set import OpenSet
from .random_images import RandomImages
from .transforms import Cutout, SimAugment, Views, build_pipeline

__all__ = [
    'CIFAR100LT', 'CIFAR10LT', 'Cutout', 'DataError', 'DigitsLT', 'FolderLT', 'INaturalist',
    'ImageNetLT', 'LongTailDataset', 'OpenCVRandomResizedCrop', 'OpenCVResize', 'OpenSet',
    'PlacesLT', 'RandomImages', 'SimAugment', 'Views', 'build_pipeline', 'collate_batch',
    'fingerprint', 'seed_worker',
]
