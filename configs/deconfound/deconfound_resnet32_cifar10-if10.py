_base_ = './deconfound_resnet32_cifar10.py'

train_dataloader = dict(dataset=dict(imbalance=10))
