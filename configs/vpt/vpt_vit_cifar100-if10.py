_base_ = './vpt_vit_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=10))
