model = dict(
    type='Classifier',
    backbone=dict(type='CIFARResNet', depth=32),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
