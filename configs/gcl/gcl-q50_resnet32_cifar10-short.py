_base_ = './gcl_resnet32_cifar10-short.py'

# The images encoded once more: tools/benchmark/reencode.py data/cifar10 data/cifar10-q50.
train_dataloader = dict(dataset=dict(root='data/cifar10-q50'))
val_dataloader = dict(dataset=dict(root='data/cifar10-q50'))
test_dataloader = val_dataloader
