_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/retrain_30e.py',
    '../_base_/default_runtime.py',
]

# Zhang et al., CVPR 2021, Sec. 3.3: the classifier stays, a gated map of its scores is learned.
init_from = dict(config='ce_resnet32_cifar100', parts=['backbone', 'head'])
model = dict(head=dict(type='DisAlignHead'), frozen=['backbone'])
custom_hooks = [dict(type='DeferredReweightHook', exponent=1.2)]
