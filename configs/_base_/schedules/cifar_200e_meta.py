# 200 epochs of SGD without warm-up: a hundredth of the rate at 160 and again at 180
# (Jamal et al., CVPR 2020).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True))
param_scheduler = [dict(type='MultiStepLR', milestones=[160, 180], gamma=0.01)]
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
auto_scale_lr = dict(base_batch_size=100, enable=True)
