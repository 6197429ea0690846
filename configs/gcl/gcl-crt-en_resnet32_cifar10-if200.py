_base_ = './gcl-crt-en_resnet32_cifar10.py'

init_from = dict(config='gcl_resnet32_cifar10-if200.py')
train_dataloader = dict(dataset=dict(imbalance=200))
