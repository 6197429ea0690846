_base_ = '../crt/crt_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): averaged weights in stage 2.
custom_hooks = [dict(type='SWAHook', begin=22)]
