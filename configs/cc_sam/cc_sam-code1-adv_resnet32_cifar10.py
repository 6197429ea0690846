_base_ = './cc_sam-adv_resnet32_cifar10.py'

# The authors' code lets batch norm follow the balanced batches.
init_from = dict(config='cc_sam-code1_resnet32_cifar10')
model = dict(max_share=0.8, frozen_bn='shift')
