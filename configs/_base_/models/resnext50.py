model = dict(
    type='Classifier',
    backbone=dict(type='TorchvisionBackbone', name='resnext50_32x4d'),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
