_base_ = './deconfound-tde_resnet32_cifar10.py'

init_from = dict(config='deconfound_resnet32_cifar10-if10')
train_dataloader = dict(dataset=dict(imbalance=10))
