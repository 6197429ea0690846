_base_ = './gcl_resnet32_cifar10.py'

# Li et al., CVPR 2022, Table 3: power difference, exponent 1/3.
model = dict(loss=dict(cloud='pow', exponent=0.333333))
