_base_ = './crt-gp_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): a gradient-norm penalty in both.
init_from = dict(config='ce-gp_resnet32_cifar10')
