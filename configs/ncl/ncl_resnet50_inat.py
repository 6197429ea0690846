_base_ = [
    '../_base_/datasets/inat2018_colour.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/mislas_180e.py',
    '../_base_/default_runtime.py',
]

# Li et al., CVPR 2022: three networks, 2,442 hard classes.
train_dataloader = dict(batch_size=512)
model = dict(
    backbone=dict(type='IndependentExperts', network='TorchvisionBackbone'),
    head=dict(type='ExpertHead', expert=dict(type='CosineHead', scale=32)),
    loss=dict(type='NCLLoss'))
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=2e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=400)]
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=512)
