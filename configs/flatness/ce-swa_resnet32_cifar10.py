_base_ = '../ce/ce_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): averaged weights in stage 1.
custom_hooks = [dict(type='SWAHook', begin=150)]
param_scheduler = [dict(type='LinearLR', start_factor=0.2, end=5)]
