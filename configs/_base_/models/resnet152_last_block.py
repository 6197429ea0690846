# The weights of ImageNet stay as they are, but for the last block, which is drawn anew and trained
# (the code of Zhong et al., CVPR 2021, and of Li et al., CVPR 2022, for Places-LT).
model = dict(
    type='Classifier',
    backbone=dict(
        type='TorchvisionBackbone',
        name='resnet152',
        weights='IMAGENET1K_V1',
        redrawn=['layer4.2']),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'),
    frozen=[
        'backbone.model.conv1',
        'backbone.model.bn1',
        'backbone.model.layer1',
        'backbone.model.layer2',
        'backbone.model.layer3',
        'backbone.model.layer4.0',
        'backbone.model.layer4.1',
    ])
