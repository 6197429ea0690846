# Places-LT in two views as for contrastive learning (Cui et al., ICCV 2021).
_base_ = './places_lt.py'

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='Views', transforms=[
            dict(type='SimAugment', size=224),
            dict(type='SimAugment', size=224),
        ]),
    ]))
