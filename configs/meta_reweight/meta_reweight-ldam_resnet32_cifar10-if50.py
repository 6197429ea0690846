_base_ = './meta_reweight-ldam_resnet32_cifar10.py'

train_dataloader = dict(dataset=dict(imbalance=50))
