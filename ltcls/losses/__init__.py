from .base import LongTailLoss
from .cross_entropy import CrossEntropyLoss
from .focal import FocalLoss
from .gcl import AngularGCLLoss, GCLLoss
from .lade import LADELoss
from .label_aware_smoothing import LabelAwareSmoothingLoss
from .ldam import LDAMLoss
from .logit_adjustment import BalancedSoftmaxLoss, LogitAdjustedLoss
from .logit_gradient import LogitGradientPenalty
from .ncl import NCLLoss
from .ride import RIDELoss
from .shike import SHIKELoss
from .vs import VSLoss

__all__ = ['AngularGCLLoss', 'BalancedSoftmaxLoss', 'CrossEntropyLoss', 'FocalLoss', 'GCLLoss',
           'LADELoss', 'LDAMLoss', 'LabelAwareSmoothingLoss', 'LogitAdjustedLoss',
           'LogitGradientPenalty', 'LongTailLoss', 'NCLLoss', 'RIDELoss', 'SHIKELoss', 'VSLoss']
