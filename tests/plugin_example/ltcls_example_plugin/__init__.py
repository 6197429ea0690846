"""A plugin for ltcls: importing this module registers its components."""

from .backbone import TinyConvNet
from .hook import ClassifierNormHook
from .loss import Poly1Loss
from .optim_wrapper import CentralizedOptimWrapper
from .sampler import PowerSampler

LTCLS_PLUGIN_API = 1    # the plugin interface this was written for

__all__ = ['CentralizedOptimWrapper', 'ClassifierNormHook', 'Poly1Loss', 'PowerSampler',
           'TinyConvNet']
