_base_ = '../ce/ce_resnet20_digits.py'

# The deferred weights without the margin (Cao et al., NeurIPS 2019, Table 2).
custom_hooks = [dict(type='DeferredReweightHook', begin=48, beta=0.9999)]
