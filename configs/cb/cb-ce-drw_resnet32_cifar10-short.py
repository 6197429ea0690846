_base_ = './cb-ce_resnet32_cifar10-short.py'

# The same weights for the last fifth only (Cao et al., NeurIPS 2019, Algorithm 1).
custom_hooks = [dict(type='DeferredReweightHook', begin=24, beta=0.9999, mean='plain')]
