_base_ = [
    '../_base_/datasets/inat2018.py',
    '../_base_/schedules/ldam_90e.py',
    '../_base_/default_runtime.py',
]

# Wang et al., ICLR 2021: three experts, class weights in the last fifth.
train_dataloader = dict(batch_size=512)
model = dict(
    type='Classifier',
    backbone=dict(type='RIDEResNet', name='resnet50'),
    head=dict(type='ExpertHead', expert=dict(type='CosineHead')),
    loss=dict(type='RIDELoss', begin=80, spread=0.015))
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=2e-4, nesterov=True))
param_scheduler = [dict(type='MultiStepLR', milestones=[60, 80], gamma=0.1)]
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=512)
