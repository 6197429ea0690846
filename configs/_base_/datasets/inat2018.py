# iNaturalist 2018; the official validation images are the test set, as in all papers.
data_preprocessor = dict(
    type='BatchPreprocessor',
    num_classes=8142,
    mean=[0.466, 0.471, 0.380],
    std=[0.195, 0.194, 0.192])
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='InstanceBalancedSampler'),
    dataset=dict(
        type='INaturalist',
        year=2018,
        root='data/inat2018',
        split='train',
        backend='pil',
        pipeline=[
            dict(type='RandomResizedCrop', size=224),
            dict(type='RandomHorizontalFlip'),
        ]))
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='INaturalist',
        year=2018,
        root='data/inat2018',
        split='test',
        backend='pil',
        pipeline=[
            dict(type='Resize', size=256),
            dict(type='CenterCrop', size=224),
        ]))
val_evaluator = dict(type='ShotAccuracy')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
