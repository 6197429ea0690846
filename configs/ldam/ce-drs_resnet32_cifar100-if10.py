_base_ = './ce-drs_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=10))
