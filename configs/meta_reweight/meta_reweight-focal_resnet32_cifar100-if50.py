_base_ = './meta_reweight-focal_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=50))
