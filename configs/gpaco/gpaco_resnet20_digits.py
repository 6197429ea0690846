_base_ = '../ce/ce_resnet20_digits.py'

# Cui et al., TPAMI 2024: every view is drawn to its class and to other images of it.
data_preprocessor = dict(augment=[])
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='Views', transforms=[
        dict(type='RandomCrop', size=8, padding=1),
        dict(type='RandomAffine', degrees=10, translate=[0.125, 0.125], scale=[0.8, 1.2]),
    ]),
]))
model = dict(
    type='GPaCoClassifier',
    loss=dict(type='BalancedSoftmaxLoss'),
    alpha=0.01,
    queue=256,
    dim=32)
