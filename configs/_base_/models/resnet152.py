# With the weights of ImageNet: every published network for Places-LT starts from them.
model = dict(
    type='Classifier',
    backbone=dict(type='TorchvisionBackbone', name='resnet152', weights='IMAGENET1K_V1'),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
