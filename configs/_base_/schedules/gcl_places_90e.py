# 90 epochs of SGD: five of linear warm-up, then steps at 60 and 80 (Li et al., CVPR 2022).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=5),
    dict(type='MultiStepLR', milestones=[60, 80], gamma=0.1),
]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=10)
auto_scale_lr = dict(base_batch_size=512, enable=True)
