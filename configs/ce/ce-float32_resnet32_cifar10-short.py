_base_ = './ce_resnet32_cifar10-short.py'

model = dict(precision=None)
