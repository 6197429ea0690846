model = dict(
    type='Classifier',
    backbone=dict(type='CIFARResNet', depth=20, in_channels=1),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
