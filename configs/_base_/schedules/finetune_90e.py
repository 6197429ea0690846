# 90 epochs of SGD from the weights of ImageNet, cosine without warm-up (after Jamal et al., CVPR
# 2020, who give the rate alone).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=90)]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=10)
auto_scale_lr = dict(base_batch_size=256, enable=True)
