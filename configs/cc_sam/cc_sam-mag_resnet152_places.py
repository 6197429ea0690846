_base_ = './cc_sam_resnet152_places.py'

# The ablation of Zhou et al., CVPR 2023: the radius alone, in a random direction.
optim_wrapper = dict(variant='mag')
