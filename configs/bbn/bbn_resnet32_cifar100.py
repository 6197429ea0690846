_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e_batch256.py',
    '../_base_/default_runtime.py',
]

# Zhou et al., CVPR 2020: 128 pairs a batch, one image for each branch.
data_preprocessor = dict(mixing=dict(type='BilateralPairs'))
train_dataloader = dict(batch_size=256, sampler=dict(type='BilateralSampler'))
model = dict(backbone=dict(type='BilateralCIFARResNet'), head=dict(type='BilateralHead'))
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=2e-4))
