_base_ = [
    '../_base_/datasets/places_lt_colour.py',
    '../_base_/models/resnet152_last_block.py',
    '../_base_/schedules/mislas_retrain_10e.py',
    '../_base_/default_runtime.py',
]

# Stage 2 (Zhong et al., CVPR 2021, Sec. 3.2-3.3): smoothing by class, scales on a slow classifier,
# batch norm that follows the balanced batches.
init_from = dict(config='mislas-stage1_resnet152_places.py', parts=['backbone', 'head'])
train_dataloader = dict(
    batch_size=256,
    sampler=dict(type='ClassAwareSampler'))
model = dict(
    frozen=['backbone'],
    frozen_bn='shift',
    head=dict(type='LWSHead', trainable_fc=True),
    loss=dict(type='LabelAwareSmoothingLoss', head=0.4, tail=0.1))
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'head': dict(lr_mult=0.05), 'head.scales': dict(lr_mult=1.0)}))
