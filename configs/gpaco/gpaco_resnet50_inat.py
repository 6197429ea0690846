_base_ = [
    '../_base_/datasets/inat2018_two_views.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/mislas_180e.py',
    '../_base_/default_runtime.py',
]

# Cui et al., TPAMI 2024.
train_dataloader = dict(batch_size=128)
model = dict(type='GPaCoClassifier', loss=dict(type='BalancedSoftmaxLoss'))
optim_wrapper = dict(optimizer=dict(lr=0.04, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=10),
    dict(type='CosineAnnealingLR', begin=10, T_max=390),
]
train_cfg = dict(max_epochs=400)
auto_scale_lr = dict(base_batch_size=128)
