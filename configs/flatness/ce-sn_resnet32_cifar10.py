_base_ = '../ce/ce_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): spectral normalisation in stage 1.
custom_hooks = [dict(type='SpectralNormHook', parts=['backbone', 'head'])]
