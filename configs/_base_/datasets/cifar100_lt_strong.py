# CIFAR-100-LT with AutoAugment and Cutout (Li et al., CVPR 2022; Jin et al., CVPR 2023).
_base_ = './cifar100_lt.py'

data_preprocessor = dict(augment=[])
train_dataloader = dict(
    num_workers=4,
    dataset=dict(pipeline=[
        dict(type='RandomCrop', size=32, padding=4),
        dict(type='RandomHorizontalFlip'),
        dict(type='AutoAugment', policy='cifar10', fill=128),
        dict(type='Cutout', length=16),
    ]))
