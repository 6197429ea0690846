# ImageNet-LT, cut out of ImageNet-2012 by its public lists (Liu et al., CVPR 2019).
data_preprocessor = dict(
    type='BatchPreprocessor',
    num_classes=1000,
    mean=[0.485, 0.456, 0.406],
    std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='InstanceBalancedSampler'),
    dataset=dict(
        type='ImageNetLT',
        root='data/imagenet',
        split='train',
        backend='pil',
        pipeline=[
            dict(type='RandomResizedCrop', size=224),
            dict(type='RandomHorizontalFlip'),
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
        ]))
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageNetLT',
        root='data/imagenet',
        split='val',
        backend='pil',
        pipeline=[
            dict(type='Resize', size=256),
            dict(type='CenterCrop', size=224),
        ]))
val_evaluator = dict(type='ShotAccuracy')
test_dataloader = dict(
    batch_size=256,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ImageNetLT',
        root='data/imagenet',
        split='test',
        backend='pil',
        pipeline=[
            dict(type='Resize', size=256),
            dict(type='CenterCrop', size=224),
        ]))
test_evaluator = val_evaluator
