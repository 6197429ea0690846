_base_ = [
    '../_base_/datasets/places_lt_colour.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/steps_30e.py',
    '../_base_/default_runtime.py',
]

# Li et al., CVPR 2022: three networks from the weights of ImageNet, 122 hard classes.
train_dataloader = dict(batch_size=256)
model = dict(
    backbone=dict(type='IndependentExperts', network='TorchvisionBackbone'),
    head=dict(type='ExpertHead', expert=dict(type='CosineHead', scale=16)),
    loss=dict(type='NCLLoss', hard_share=0.335))
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=2e-4))
auto_scale_lr = dict(base_batch_size=256)
