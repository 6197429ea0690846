_base_ = './gcl-crt-ib_resnet32_cifar100.py'

init_from = dict(config='gcl_resnet32_cifar100-if200.py')
train_dataloader = dict(dataset=dict(imbalance=200))
