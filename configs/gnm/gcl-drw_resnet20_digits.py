_base_ = '../gcl/gcl_resnet20_digits.py'

# Class weights of Li et al., NeurIPS 2024, for the last fifth.
custom_hooks = [dict(type='DeferredReweightHook', begin=48, beta=0.9998)]
