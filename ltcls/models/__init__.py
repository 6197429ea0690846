from . import backbones, contrastive, experts, heads
from .adversarial import AdversarialFeatureClassifier
from .classifier import Classifier
from .distributed import DistributedClassifier
from .mixing import CutMix, MixedLabels, Mixup
from .preprocessor import BatchPreprocessor, PadCropFlip

__all__ = ['backbones', 'contrastive', 'experts', 'heads', 'AdversarialFeatureClassifier',
           'BatchPreprocessor', 'Classifier', 'CutMix', 'DistributedClassifier', 'MixedLabels', 'Mixup', 'PadCropFlip']
