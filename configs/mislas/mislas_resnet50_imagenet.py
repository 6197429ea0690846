_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/mislas_retrain_10e.py',
    '../_base_/default_runtime.py',
]

# Stage 2 (Zhong et al., CVPR 2021, Sec. 3.2-3.3): smoothing by class, scales on a slow classifier,
# batch norm that follows the balanced batches.
init_from = dict(config='mislas-stage1_resnet50_imagenet.py', parts=['backbone', 'head'])
train_dataloader = dict(
    batch_size=256,
    sampler=dict(type='ClassAwareSampler'))
model = dict(
    frozen=['backbone'],
    frozen_bn='shift',
    head=dict(type='LWSHead', trainable_fc=True),
    loss=dict(type='LabelAwareSmoothingLoss', head=0.3, tail=0.0))
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'head': dict(lr_mult=0.05), 'head.scales': dict(lr_mult=1.0)}))
