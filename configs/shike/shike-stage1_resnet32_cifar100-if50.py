_base_ = './shike-stage1_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=50))
