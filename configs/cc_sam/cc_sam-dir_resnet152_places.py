_base_ = './cc_sam_resnet152_places.py'

# The ablation of Zhou et al., CVPR 2023: the direction alone, at norm 1.
optim_wrapper = dict(variant='dir')
