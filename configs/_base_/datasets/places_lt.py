# Places-LT, cut out of Places365 by its public lists (Liu et al., CVPR 2019).
_base_ = './photographs.py'

data_preprocessor = dict(
    type='BatchPreprocessor',
    num_classes=365,
    mean=[0.485, 0.456, 0.406],
    std=[0.229, 0.224, 0.225])
train_dataloader = dict(dataset=dict(type='PlacesLT', root='data/places'))
val_dataloader = test_dataloader = dict(dataset=dict(type='PlacesLT', root='data/places'))
