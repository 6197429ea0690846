_base_ = './ce-mixup_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=50))
