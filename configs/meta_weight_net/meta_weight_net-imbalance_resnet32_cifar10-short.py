_base_ = './meta_weight_net_resnet32_cifar10-short.py'

# The authors' program for class imbalance: weights that add up to one, SGD for their network.
custom_hooks = [dict(type='MetaWeightNetHook', hidden=100, variant='imbalance')]
