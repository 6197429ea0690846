# 200 epochs of SGD in batches of 256: five of linear warm-up from a third, then a hundredth of the
# rate at 120 and again at 160 (Tang et al., NeurIPS 2020; Hong et al., CVPR 2021).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, end=5),
    dict(type='MultiStepLR', milestones=[120, 160], gamma=0.01),
]
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
auto_scale_lr = dict(base_batch_size=256, enable=True)
