_base_ = './ldam_resnet32_cifar10.py'

# Cao et al., NeurIPS 2019, Algorithm 1: class weights from the first step on.
custom_hooks = [dict(type='DeferredReweightHook', begin=160, beta=0.9999)]
