# 180 epochs of SGD, cosine without warm-up (Zhong et al., CVPR 2021).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=180)]
train_cfg = dict(by_epoch=True, max_epochs=180, val_interval=10)
auto_scale_lr = dict(base_batch_size=256, enable=True)
