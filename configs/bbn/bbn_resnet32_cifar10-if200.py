_base_ = './bbn_resnet32_cifar10.py'

train_dataloader = dict(dataset=dict(imbalance=200))
