_base_ = '../crt/crt_resnet32_cifar10.py'

# The ablation of Zhou et al., CVPR 2023: stage 2 is cRT.
init_from = dict(config='cc_sam-dir_resnet32_cifar10')
