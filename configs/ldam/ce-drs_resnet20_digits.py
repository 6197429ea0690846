_base_ = '../ce/ce_resnet20_digits.py'

# Re-sampling deferred like the weights (Cao et al., NeurIPS 2019, Table 2).
custom_hooks = [
    dict(
        type='DeferredResampleHook',
        begin=48,
        sampler=dict(type='EffectiveNumberSampler', beta=0.9999)),
]
