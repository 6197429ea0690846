from .base import DataError, LongTailDataset
from .cifar import CIFAR10LT, CIFAR100LT
from .digits import DigitsLT
from .fingerprint import fingerprint
from .folder import FolderLT
from .loading import collate_batch, seed_worker
from .random_images import RandomImages
from .transforms import Cutout, build_pipeline

__all__ = [
    'CIFAR100LT', 'CIFAR10LT', 'Cutout', 'DataError', 'DigitsLT', 'FolderLT', 'LongTailDataset',
    'RandomImages', 'build_pipeline', 'collate_batch', 'fingerprint',
    'seed_worker',
]
