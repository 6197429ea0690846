_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet20_grey.py',
    '../_base_/schedules/digits_60e.py',
    '../_base_/default_runtime.py',
]

# Zhou et al., CVPR 2020: 64 pairs a batch, one image for each branch.
data_preprocessor = dict(mixing=dict(type='BilateralPairs'))
train_dataloader = dict(batch_size=128, sampler=dict(type='BilateralSampler'))
model = dict(backbone=dict(type='BilateralCIFARResNet'), head=dict(type='BilateralHead'))
auto_scale_lr = dict(base_batch_size=128)
