_base_ = './ldam_resnet50_inat.py'

# Cao et al., NeurIPS 2019, Algorithm 1: class weights in the last third.
custom_hooks = [dict(type='DeferredReweightHook', begin=60, beta=0.9999)]
