_base_ = './ce_resnet32_cifar100-steep.py'

train_dataloader = dict(dataset=dict(imbalance=1))
