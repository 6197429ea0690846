# The 8x8 digits of scikit-learn with an exponential profile; 50 images a class are the test set.
data_preprocessor = dict(
    type='BatchPreprocessor',
    num_classes=10,
    mean=[0.3053],
    std=[0.3761],
    augment=[dict(type='PadCropFlip', padding=1, flip=0.0)])
train_dataloader = dict(
    batch_size=64,
    sampler=dict(type='InstanceBalancedSampler'),
    dataset=dict(type='DigitsLT', split='train', imbalance=50))
val_dataloader = dict(
    batch_size=500,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DigitsLT', split='test'))
val_evaluator = dict(type='ShotAccuracy')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
