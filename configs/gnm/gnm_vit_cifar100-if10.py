_base_ = './gnm_vit_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=10))
