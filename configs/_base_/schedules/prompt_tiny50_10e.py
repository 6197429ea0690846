# 10 epochs of SGD with a cosine for the prompts of a small network.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.04, momentum=0.9, weight_decay=1e-3))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=10)]
auto_scale_lr = dict(base_batch_size=128, enable=True)
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=5)
