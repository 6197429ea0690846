_base_ = '../crt/crt_resnet152_places.py'

# The ablation of Zhou et al., CVPR 2023: stage 2 is cRT.
init_from = dict(config='cc_sam-dir_resnet152_places')
