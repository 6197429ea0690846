# 30 epochs of SGD with a cosine for the prompts of a small network.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-3))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30)]
auto_scale_lr = dict(base_batch_size=32, enable=True)
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=10)
