# 20 epochs for a classifier on frozen features of the digits: cosine without warm-up.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=20)]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=10)
auto_scale_lr = dict(base_batch_size=64, enable=True)
