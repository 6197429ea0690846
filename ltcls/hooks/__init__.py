from .deferred_resample import DeferredResampleHook
from .deferred_reweight import DeferredReweightHook
from .epoch_seed import EpochSeedHook
from .long_tail import LongTailHook
from .ncm import ClassMeanHook
from .plain_checkpoint import PlainCheckpointHook
from .training_log import QuietRuntimeInfoHook, TrainingLogHook

__all__ = ['ClassMeanHook', 'DeferredResampleHook', 'DeferredReweightHook', 'EpochSeedHook',
           'LongTailHook', 'PlainCheckpointHook', 'QuietRuntimeInfoHook', 'TrainingLogHook']
