# CIFAR-10-LT from images encoded once more:
# tools/benchmark/reencode.py data/cifar10 data/cifar10-q50
_base_ = './cifar10_lt.py'
train_dataloader = dict(dataset=dict(root='data/cifar10-q50'))
val_dataloader = dict(dataset=dict(root='data/cifar10-q50'))
test_dataloader = val_dataloader
