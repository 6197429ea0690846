_base_ = '../ce/ce_resnet32_cifar10-steep.py'

# Hong et al., CVPR 2021, Eqs. 5-9, with the schedule of their code.
train_dataloader = dict(batch_size=256)
model = dict(loss=dict(type='LADELoss', lam=0.01, alpha=0.1))
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=5),
    dict(type='MultiStepLR', milestones=[120, 160], gamma=0.01),
]
auto_scale_lr = dict(base_batch_size=256)
