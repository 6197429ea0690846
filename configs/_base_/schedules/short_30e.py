# 30 epochs for a CPU: five of linear warm-up, then cosine. The precision is half of the speed.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=2e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=5),
    dict(type='CosineAnnealingLR', begin=5, T_max=25),
]
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=5)
auto_scale_lr = dict(base_batch_size=128, enable=True)
