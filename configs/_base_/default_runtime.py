default_scope = 'ltcls'
default_hooks = dict(
    runtime_info=dict(type='QuietRuntimeInfoHook'),
    long_tail=dict(type='LongTailHook'),
    epoch_seed=dict(type='EpochSeedHook'),
    logger=dict(type='TrainingLogHook', interval=50),
    plain_checkpoint=dict(type='PlainCheckpointHook'),
    checkpoint=dict(type='CheckpointHook', interval=5, max_keep_ckpts=2))
custom_hooks = []
model_wrapper_cfg = dict(type='ltcls.DistributedClassifier')
env_cfg = dict(cudnn_benchmark=True, dist_cfg=dict(backend='nccl'))
randomness = dict(seed=0)
