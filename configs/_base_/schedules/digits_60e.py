# 60 epochs of SGD for the digits: five of linear warm-up, then cosine.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=5),
    dict(type='CosineAnnealingLR', begin=5, T_max=55),
]
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=10)
auto_scale_lr = dict(base_batch_size=64, enable=True)
