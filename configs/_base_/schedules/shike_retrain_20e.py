# 20 epochs for the classifiers of SHIKE: five of linear warm-up from a half, then cosine
# (Jin et al., CVPR 2023, code).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.5, end=5),
    dict(type='CosineAnnealingLR', begin=5, T_max=20),
]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=10)
auto_scale_lr = dict(base_batch_size=128, enable=True)
