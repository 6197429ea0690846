# 70 epochs of SGD with a cosine, 0.01 for a batch of 256 (Li et al., NeurIPS 2024, code).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.005, momentum=0.9, weight_decay=1e-3))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=70)]
auto_scale_lr = dict(base_batch_size=128, enable=True)
train_cfg = dict(by_epoch=True, max_epochs=70, val_interval=10)
