from .deferred_resample import DeferredResampleHook
from .deferred_reweight import DeferredReweightHook
from .epoch_seed import EpochSeedHook
from .long_tail import LongTailHook
from .ncm import ClassMeanHook
from .plain_checkpoint import PlainCheckpointHook
from .spectral_norm import SpectralNormHook
from .training_log import QuietRuntimeInfoHook, TrainingLogHook
from .weight_average import SWAHook

__all__ = ['ClassMeanHook', 'DeferredResampleHook', 'DeferredReweightHook', 'EpochSeedHook',
           'LongTailHook', 'PlainCheckpointHook', 'QuietRuntimeInfoHook', 'SWAHook',
           'SpectralNormHook', 'TrainingLogHook']
