# CIFAR-100-LT enlarged to 224x224, with the augmentation of GNM-PT (Li et al., NeurIPS 2024, code).
_base_ = './cifar100_lt.py'

data_preprocessor = dict(augment=[])
train_dataloader = dict(
    num_workers=4,
    dataset=dict(pipeline=[
        dict(type='RandomCrop', size=32, padding=4),
        dict(type='RandomHorizontalFlip'),
        dict(type='AutoAugment', policy='cifar10', fill=128),
        dict(type='Cutout', length=16),
        dict(type='Resize', size=[224, 224], antialias=False),
    ]))
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    dataset=dict(pipeline=[
        dict(type='Resize', size=[256, 256]),
        dict(type='CenterCrop', size=224),
    ]))
test_dataloader = val_dataloader
