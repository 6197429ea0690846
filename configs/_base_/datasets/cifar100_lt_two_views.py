# CIFAR-100-LT in two views: one by AutoAugment and Cutout, one with other crops and colours (Cui et
# al., ICCV 2021).
_base_ = './cifar100_lt.py'

data_preprocessor = dict(augment=[])
train_dataloader = dict(
    num_workers=4,
    dataset=dict(pipeline=[
        dict(type='Views', transforms=[
            dict(type='Compose', transforms=[
                dict(type='RandomCrop', size=32, padding=4),
                dict(type='RandomHorizontalFlip'),
                dict(type='AutoAugment', policy='cifar10', fill=128),
                dict(type='Cutout', length=16),
            ]),
            dict(type='Compose', transforms=[
                dict(type='RandomResizedCrop', size=32, scale=[0.2, 1.0]),
                dict(type='RandomHorizontalFlip'),
                dict(type='RandomApply', p=0.8, transforms=[
                    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
                ]),
                dict(type='RandomGrayscale', p=0.2),
                dict(type='RandomApply', p=0.5, transforms=[
                    dict(type='GaussianBlur', kernel_size=9, sigma=[0.1, 2.0]),
                ]),
            ]),
        ]),
    ]))
