_base_ = '../crt/crt_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): spectral normalisation in stage 2.
custom_hooks = [dict(type='SpectralNormHook', parts=['head'])]
