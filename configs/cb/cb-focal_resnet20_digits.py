_base_ = '../focal/focal_resnet20_digits.py'

# Cui et al., CVPR 2019, Sec. 4.3: the same weights on the focal loss.
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.99, mean='plain')]
