_base_ = './ncm_resnet32_cifar10.py'

init_from = dict(config='ce-mixup_resnet32_cifar10')
