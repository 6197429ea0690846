_base_ = './balanced_softmax_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=50))
