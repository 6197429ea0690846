_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet20_grey.py',
    '../_base_/schedules/retrain_digits_20e.py',
    '../_base_/default_runtime.py',
]

# Zhang et al., CVPR 2021, Sec. 3.3: the classifier stays, a gated map of its scores is learned.
init_from = dict(config='ce_resnet20_digits', parts=['backbone', 'head'])
model = dict(head=dict(type='DisAlignHead'), frozen=['backbone'])
custom_hooks = [dict(type='DeferredReweightHook', exponent=1.2)]
