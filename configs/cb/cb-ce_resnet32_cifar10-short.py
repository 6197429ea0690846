_base_ = '../ce/ce_resnet32_cifar10-short.py'

# Cui et al., CVPR 2019, Sec. 4: weights from the first epoch, divided by the batch size alone.
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.9999, mean='plain')]
