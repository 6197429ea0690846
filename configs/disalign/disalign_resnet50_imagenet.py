_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/decouple_retrain_10e.py',
    '../_base_/default_runtime.py',
]

# Zhang et al., CVPR 2021, Sec. 3.3: the classifier stays, a gated map of its scores is learned.
init_from = dict(config='ce_resnet50_imagenet', parts=['backbone', 'head'])
train_dataloader = dict(batch_size=256)
model = dict(head=dict(type='DisAlignHead'), frozen=['backbone'])
optim_wrapper = dict(optimizer=dict(lr=0.1))
custom_hooks = [dict(type='DeferredReweightHook', exponent=1.2)]
auto_scale_lr = dict(base_batch_size=256)
