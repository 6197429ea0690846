_base_ = './ce_resnet50_imagenet.py'

# Mixup of images (Zhang et al., ICLR 2018), in the GCL tables (Li et al., CVPR 2022, Table 2).
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=0.2))
