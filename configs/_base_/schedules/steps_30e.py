# Fine-tuning with a tenth of the rate every 10 epochs (Jamal et al., CVPR 2020, for Places-LT).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='StepLR', step_size=10, gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=10)
auto_scale_lr = dict(base_batch_size=128, enable=True)
