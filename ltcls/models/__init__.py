from . import backbones, heads
from .classifier import Classifier
from .distributed import DistributedClassifier
from .mixing import CutMix, MixedLabels, Mixup
from .preprocessor import BatchPreprocessor, PadCropFlip

__all__ = ['backbones', 'heads', 'BatchPreprocessor', 'Classifier', 'CutMix', 'DistributedClassifier', 'MixedLabels',
           'Mixup', 'PadCropFlip']
