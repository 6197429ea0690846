_base_ = '../ce/ce_resnet32_cifar10-steep.py'

# Re-sampling deferred like the weights (Cao et al., NeurIPS 2019, Table 2).
custom_hooks = [
    dict(
        type='DeferredResampleHook',
        begin=160,
        sampler=dict(type='EffectiveNumberSampler', beta=0.9999)),
]
