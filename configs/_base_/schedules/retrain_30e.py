# 30 epochs for a classifier on frozen features: warm-up, then steps at 10 and 20
# (Zhang et al., Bag of Tricks for Long-Tailed Visual Recognition, AAAI 2021).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=5),
    dict(type='MultiStepLR', milestones=[10, 20], gamma=0.1),
]
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=10)
auto_scale_lr = dict(base_batch_size=128, enable=True)
