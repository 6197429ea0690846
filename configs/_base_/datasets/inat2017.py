# iNaturalist 2017; the official validation images are the test set, as in the papers.
_base_ = './photographs.py'

data_preprocessor = dict(
    type='BatchPreprocessor',
    num_classes=5089,
    mean=[0.466, 0.471, 0.380],
    std=[0.195, 0.194, 0.192])
train_dataloader = dict(dataset=dict(type='INaturalist', year=2017, root='data/inat2017'))
val_dataloader = test_dataloader = dict(
    persistent_workers=True,
    dataset=dict(type='INaturalist', year=2017, root='data/inat2017', split='test'))
