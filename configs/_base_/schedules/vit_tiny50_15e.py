# 15 epochs of AdamW for a small Vision Transformer: two of linear warm-up, then cosine.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, end=2),
    dict(type='CosineAnnealingLR', begin=2, T_max=13),
]
auto_scale_lr = dict(base_batch_size=128, enable=True)
train_cfg = dict(by_epoch=True, max_epochs=15, val_interval=5)
