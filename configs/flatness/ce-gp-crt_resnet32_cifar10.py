_base_ = '../crt/crt_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): a gradient-norm penalty in stage 1.
init_from = dict(config='ce-gp_resnet32_cifar10')
