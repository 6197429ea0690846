_base_ = './meta_reweight_resnet32_cifar10-short.py'

# A thousand times the published step.
custom_hooks = [dict(type='MetaReweightHook', begin=24, tau=10.0, beta=0.9999)]
