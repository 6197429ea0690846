_base_ = '../ce/ce_resnet152_places-steps.py'

# Cui et al., CVPR 2019, Sec. 4, in Jamal et al., CVPR 2020.
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.9999, mean='plain')]
