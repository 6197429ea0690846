# CIFAR-10-LT, exponential profile, imbalance factor 100 (Cao et al., 2019).
data_preprocessor = dict(
    type='BatchPreprocessor',
    num_classes=10,
    mean=[0.4914, 0.4822, 0.4465],
    std=[0.2023, 0.1994, 0.2010],
    augment=[dict(type='PadCropFlip', padding=4)])
train_dataloader = dict(
    batch_size=128,
    sampler=dict(type='InstanceBalancedSampler'),
    dataset=dict(type='CIFAR10LT', root='data/cifar10', split='train', imbalance=100))
val_dataloader = dict(
    batch_size=500,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CIFAR10LT', root='data/cifar10', split='test'))
val_evaluator = dict(type='ShotAccuracy')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
