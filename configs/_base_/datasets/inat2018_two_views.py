# iNaturalist 2018 in two views: one by RandAugment, one as for contrastive learning (Cui et al.,
# ICCV 2021).
_base_ = './inat2018.py'

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='Views', transforms=[
            dict(type='Compose', transforms=[
                dict(type='RandomResizedCrop', size=224),
                dict(type='RandomHorizontalFlip'),
                dict(type='RandAugment', num_ops=2, magnitude=10),
            ]),
            dict(type='SimAugment', size=224),
        ]),
    ]))
