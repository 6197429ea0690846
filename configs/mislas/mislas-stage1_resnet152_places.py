_base_ = [
    '../_base_/datasets/places_lt_colour.py',
    '../_base_/models/resnet152_last_block.py',
    '../_base_/schedules/mislas_180e.py',
    '../_base_/default_runtime.py',
]

# Stage 1 (Zhong et al., CVPR 2021, Sec. 3.1): features with mixup.
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=0.2))
train_dataloader = dict(batch_size=256)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=90)]
train_cfg = dict(max_epochs=90)
