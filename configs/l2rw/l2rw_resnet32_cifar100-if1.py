_base_ = './l2rw_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=1))
