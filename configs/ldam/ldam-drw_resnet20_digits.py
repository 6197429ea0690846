_base_ = './ldam_resnet20_digits.py'

# Cao et al., NeurIPS 2019, Algorithm 1: class weights for the last fifth.
custom_hooks = [dict(type='DeferredReweightHook', begin=48, beta=0.9999)]
