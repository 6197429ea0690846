# A tenth of the rate every 35 epochs (Jamal et al., CVPR 2020, for ImageNet-LT).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='StepLR', step_size=35, gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=105, val_interval=10)
auto_scale_lr = dict(base_batch_size=256, enable=True)
