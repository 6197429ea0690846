# 90 epochs of SGD, cosine without warm-up (Rangwani et al., NeurIPS 2022).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=2e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=90)]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=10)
auto_scale_lr = dict(base_batch_size=256, enable=True)
