_base_ = '../ce/ce_resnet32_cifar10-short.py'

# Cao et al., NeurIPS 2019: margins from the start, class weights for the last fifth.
model = dict(
    head=dict(type='CosineHead', scale=30),
    loss=dict(type='LDAMLoss', max_margin=0.5))
custom_hooks = [dict(type='DeferredReweightHook', begin=24, beta=0.9999)]
