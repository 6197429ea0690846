_base_ = [
    '../_base_/datasets/cifar100_lt_strong.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# Li et al., CVPR 2022: three networks, 30 hard classes; twice the usual schedule.
train_dataloader = dict(batch_size=64)
model = dict(
    backbone=dict(type='IndependentExperts', network='CIFARResNet'),
    head=dict(type='ExpertHead', expert=dict(type='LinearHead')),
    loss=dict(type='NCLLoss'))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=5),
    dict(type='MultiStepLR', milestones=[320, 360], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=64)
