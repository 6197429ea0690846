_base_ = './ldam-drw-sam_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=200))
