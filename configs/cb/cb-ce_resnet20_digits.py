_base_ = '../ce/ce_resnet20_digits.py'

# Cui et al., CVPR 2019, Sec. 4: weights from the first epoch, divided by the batch size alone.
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.99, mean='plain')]
