_base_ = [
    '../_base_/datasets/places_lt_two_views.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/steps_30e.py',
    '../_base_/default_runtime.py',
]

# Cui et al., TPAMI 2024, from the weights of ImageNet.
train_dataloader = dict(batch_size=128)
model = dict(type='GPaCoClassifier', loss=dict(type='BalancedSoftmaxLoss'), alpha=0.02)
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30)]
