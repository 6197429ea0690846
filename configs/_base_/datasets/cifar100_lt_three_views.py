# CIFAR-100-LT in three views: AutoAugment and Cutout for the classifier, two to contrast (Zhu et
# al., CVPR 2022).
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
            dict(type='SimAugment', size=32),
            dict(type='SimAugment', size=32),
        ]),
    ]))
