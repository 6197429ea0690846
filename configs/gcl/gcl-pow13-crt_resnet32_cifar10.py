_base_ = './gcl-crt_resnet32_cifar10.py'

# Li et al., CVPR 2022, Table 3: power difference, exponent 1/3, stage 2.
init_from = dict(config='gcl-pow13_resnet32_cifar10.py')
model = dict(loss=dict(cloud='pow', exponent=0.333333))
