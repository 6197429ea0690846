_base_ = '../ce/ce_resnet32_cifar100-steep.py'

# The deferred weights without the margin (Cao et al., NeurIPS 2019, Table 2).
custom_hooks = [dict(type='DeferredReweightHook', begin=160, beta=0.9999)]
