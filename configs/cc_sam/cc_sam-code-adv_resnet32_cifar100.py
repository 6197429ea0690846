_base_ = './cc_sam-adv_resnet32_cifar100.py'

# The authors' code lets batch norm follow the balanced batches.
init_from = dict(config='cc_sam-code_resnet32_cifar100')
model = dict(frozen_bn='shift')
