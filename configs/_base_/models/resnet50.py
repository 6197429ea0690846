model = dict(
    type='Classifier',
    backbone=dict(type='TorchvisionBackbone', name='resnet50'),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
