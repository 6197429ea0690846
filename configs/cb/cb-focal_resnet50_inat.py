_base_ = [
    '../_base_/datasets/inat2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/cb_90e.py',
    '../_base_/default_runtime.py',
]

# Cui et al., CVPR 2019, Table 3: one two-way problem a class, four times the rate of softmax.
train_dataloader = dict(batch_size=1024)
model = dict(
    head=dict(bias_init='prior'),
    loss=dict(type='FocalLoss', gamma=0.5, form='sigmoid'))
optim_wrapper = dict(
    optimizer=dict(lr=1.6),
    paramwise_cfg=dict(custom_keys={'head.bias': dict(decay_mult=0.0)}))
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.999, mean='plain')]
