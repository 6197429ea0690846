_base_ = '../gcl/gcl_resnet32_cifar10-short.py'

# Class weights of Li et al., NeurIPS 2024, for the last fifth.
custom_hooks = [dict(type='DeferredReweightHook', begin=24, beta=0.9998)]
