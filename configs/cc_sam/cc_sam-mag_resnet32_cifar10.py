_base_ = './cc_sam_resnet32_cifar10.py'

# The ablation of Zhou et al., CVPR 2023: the radius alone, in a random direction.
optim_wrapper = dict(variant='mag')
