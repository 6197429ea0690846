_base_ = '../focal/focal_resnet32_cifar10.py'

# Cui et al., CVPR 2019, Sec. 4.3: the same weights on the focal loss.
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.9999, mean='plain')]
