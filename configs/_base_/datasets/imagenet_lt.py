# ImageNet-LT, cut out of ImageNet-2012 by its public lists (Liu et al., CVPR 2019).
_base_ = './photographs.py'

data_preprocessor = dict(
    type='BatchPreprocessor',
    num_classes=1000,
    mean=[0.485, 0.456, 0.406],
    std=[0.229, 0.224, 0.225])
train_dataloader = dict(dataset=dict(type='ImageNetLT', root='data/imagenet', pipeline=[
    dict(type='RandomResizedCrop', size=224),
    dict(type='RandomHorizontalFlip'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
]))
val_dataloader = test_dataloader = dict(dataset=dict(type='ImageNetLT', root='data/imagenet'))
