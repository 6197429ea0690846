_base_ = './crt-mp_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): perturbed weights in both.
init_from = dict(config='ce-mp_resnet32_cifar10')
