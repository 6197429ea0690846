_base_ = './deconfound-tde_resnet32_cifar100.py'

init_from = dict(config='deconfound_resnet32_cifar100-if50')
train_dataloader = dict(dataset=dict(imbalance=50))
