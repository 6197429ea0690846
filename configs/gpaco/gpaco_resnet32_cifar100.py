_base_ = [
    '../_base_/datasets/cifar100_lt_two_views.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# Cui et al., TPAMI 2024, with the settings of PaCo (ICCV 2021): twice the usual schedule.
model = dict(
    type='GPaCoClassifier',
    loss=dict(type='BalancedSoftmaxLoss'),
    alpha=0.01,
    temperature=0.05,
    queue=1024,
    dim=32)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=10),
    dict(type='MultiStepLR', milestones=[320, 360], gamma=0.1),
]
train_cfg = dict(max_epochs=400)
