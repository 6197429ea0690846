_base_ = './cc_sam_resnet32_cifar10.py'

# The ablation of Zhou et al., CVPR 2023: the direction alone, at norm 1.
optim_wrapper = dict(variant='dir')
