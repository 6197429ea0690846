_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/decouple_retrain_10e.py',
    '../_base_/default_runtime.py',
]

# As Kang et al., ICLR 2020, on features learned with mixup: the reading that we take of Li et al.,
# CVPR 2022, Table 2.
init_from = dict(config='ce-mixup_resnet50_imagenet', parts=['backbone'])
train_dataloader = dict(sampler=dict(type='ClassAwareSampler'))
model = dict(frozen=['backbone'], frozen_bn='shift')
