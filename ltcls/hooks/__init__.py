from .accumulation import AccumulationHook
from .checkpoint import CheckpointHook
from .deferred_resample import DeferredResampleHook
from .deferred_reweight import DeferredReweightHook
from .epoch_seed import EpochSeedHook
from .fused_optimizer import FusedOptimizerHook
from .l2rw import L2RWHook
from .long_tail import LongTailHook
from .meta_reweight import MetaReweightHook
from .meta_weight_net import MetaWeightNetHook
from .nan_guard import NaNGuardHook, NonFiniteError
from .ncm import ClassMeanHook
from .plain_checkpoint import PlainCheckpointHook
from .spectral_norm import SpectralNormHook
from .sync_statistics import SyncStatisticsHook
from .training_log import QuietRuntimeInfoHook, TrainingLogHook
from .weight_average import SWAHook

__all__ = ['AccumulationHook', 'CheckpointHook', 'ClassMeanHook', 'DeferredResampleHook',
           'DeferredReweightHook', 'EpochSeedHook', 'FusedOptimizerHook', 'L2RWHook', 'LongTailHook',
           'MetaReweightHook', 'MetaWeightNetHook', 'NaNGuardHook', 'NonFiniteError',
           'PlainCheckpointHook', 'QuietRuntimeInfoHook', 'SWAHook', 'SpectralNormHook',
           'SyncStatisticsHook', 'TrainingLogHook']
