# Every second class of Tiny ImageNet's first hundred folders, all images, 32x32: for pre-training.
_base_ = './tiny50b.py'

train_dataloader = dict(dataset=dict(class_slice=[0, 100, 2], imbalance=None))
val_dataloader = dict(dataset=dict(class_slice=[0, 100, 2]))
test_dataloader = val_dataloader
