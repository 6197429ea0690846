_base_ = './crt-swa_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): averaged weights in both.
init_from = dict(config='ce-swa_resnet32_cifar10')
