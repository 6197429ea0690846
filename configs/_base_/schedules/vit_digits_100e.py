# 100 epochs of AdamW for a small Vision Transformer: five of linear warm-up, then cosine.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=5),
    dict(type='CosineAnnealingLR', begin=5, T_max=95),
]
auto_scale_lr = dict(base_batch_size=32, enable=True)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=20)
