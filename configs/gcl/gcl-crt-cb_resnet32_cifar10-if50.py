_base_ = './gcl-crt-cb_resnet32_cifar10.py'

init_from = dict(config='gcl_resnet32_cifar10-if50.py')
train_dataloader = dict(dataset=dict(imbalance=50))
