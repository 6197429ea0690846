# 90 epochs of SGD: steps at 30 and 60 (Cao et al., NeurIPS 2019, for iNaturalist).
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='MultiStepLR', milestones=[30, 60], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=10)
auto_scale_lr = dict(base_batch_size=256, enable=True)
