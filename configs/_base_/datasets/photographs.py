# What the large sets have in common: files on disk, resized to 224x224 by the image.
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    sampler=dict(type='InstanceBalancedSampler'),
    dataset=dict(
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
        split='val',
        backend='pil',
        pipeline=[
            dict(type='Resize', size=256),
            dict(type='CenterCrop', size=224),
        ]))
val_evaluator = dict(type='ShotAccuracy', topk=[3, 5])
test_dataloader = dict(
    batch_size=256,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        split='test',
        backend='pil',
        pipeline=[
            dict(type='Resize', size=256),
            dict(type='CenterCrop', size=224),
        ]))
test_evaluator = val_evaluator
