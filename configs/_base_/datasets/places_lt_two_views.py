# Places-LT in two views with other crops and colours (Cui et al., ICCV 2021).
_base_ = './places_lt.py'

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='Views', transforms=[
            dict(type='Compose', transforms=[
                dict(type='RandomResizedCrop', size=224, scale=[0.2, 1.0]),
                dict(type='RandomHorizontalFlip'),
                dict(type='RandomApply', p=0.8, transforms=[
                    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
                ]),
                dict(type='RandomGrayscale', p=0.2),
                dict(type='RandomApply', p=0.5, transforms=[
                    dict(type='GaussianBlur', kernel_size=23, sigma=[0.1, 2.0]),
                ]),
            ]),
            dict(type='Compose', transforms=[
                dict(type='RandomResizedCrop', size=224, scale=[0.2, 1.0]),
                dict(type='RandomHorizontalFlip'),
                dict(type='RandomApply', p=0.8, transforms=[
                    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
                ]),
                dict(type='RandomGrayscale', p=0.2),
                dict(type='RandomApply', p=0.5, transforms=[
                    dict(type='GaussianBlur', kernel_size=23, sigma=[0.1, 2.0]),
                ]),
            ]),
        ]),
    ]))
