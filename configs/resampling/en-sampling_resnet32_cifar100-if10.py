_base_ = './en-sampling_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=10))
