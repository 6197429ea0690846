from .balanced import (ClassBalancedSampler, InstanceBalancedSampler, ProgressiveSampler,
                       SquareRootSampler)
from .base import ClassSampler
from .bilateral import BilateralSampler
from .class_aware import ClassAwareSampler
from .effective_number import CBENSampler, EffectiveNumberSampler
from .reversed import ReversedSampler
from .subset import BalancedSubsetSampler
