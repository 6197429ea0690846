_base_ = '../ce/ce_resnet32_cifar10-steep.py'

# Tang et al., NeurIPS 2020, Eq. 3: a normalised classifier in two parts; the schedule of their code.
train_dataloader = dict(batch_size=256)
model = dict(head=dict(type='CausalNormHead'))
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.333333, end=5),
    dict(type='MultiStepLR', milestones=[120, 160], gamma=0.01),
]
auto_scale_lr = dict(base_batch_size=256)
