_base_ = './lws_resnet32_cifar100.py'

init_from = dict(config='ce-mixup_resnet32_cifar100')
