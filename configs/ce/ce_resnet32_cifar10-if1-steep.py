_base_ = './ce_resnet32_cifar10-steep.py'

train_dataloader = dict(dataset=dict(imbalance=1))
