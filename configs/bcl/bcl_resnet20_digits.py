_base_ = '../ce/ce_resnet20_digits.py'

# Zhu et al., CVPR 2022: balanced softmax, and balanced contrast of two more views.
data_preprocessor = dict(augment=[])
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='Views', transforms=[
        dict(type='RandomCrop', size=8, padding=1),
        dict(type='RandomAffine', degrees=10, translate=[0.125, 0.125], scale=[0.8, 1.2]),
        dict(type='RandomAffine', degrees=10, translate=[0.125, 0.125], scale=[0.8, 1.2]),
    ]),
]))
model = dict(
    type='BCLClassifier',
    loss=dict(type='BalancedSoftmaxLoss'),
    classification=2.0,
    contrast=0.6)
