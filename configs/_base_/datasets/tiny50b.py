# The other classes of a hundred of Tiny ImageNet at 32x32, in class folders, as a long tail.
data_preprocessor = dict(
    type='BatchPreprocessor',
    num_classes=50,
    mean=[0.487, 0.454, 0.399],
    std=[0.256, 0.248, 0.263],
    augment=[dict(type='PadCropFlip', padding=4)])
train_dataloader = dict(
    batch_size=128,
    sampler=dict(type='InstanceBalancedSampler'),
    dataset=dict(
        type='FolderLT',
        root='data/tiny100',
        split='train',
        class_slice=[1, 100, 2],
        imbalance=100,
        in_memory=True))
val_dataloader = dict(
    batch_size=500,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FolderLT',
        root='data/tiny100',
        split='test',
        class_slice=[1, 100, 2],
        in_memory=True))
val_evaluator = dict(type='ShotAccuracy')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
