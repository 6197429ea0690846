_base_ = './ce_resnet32_cifar10.py'

# Mixup of images (Zhang et al., ICLR 2018), in the GCL tables (Li et al., CVPR 2022, Table 1).
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=1.0))
