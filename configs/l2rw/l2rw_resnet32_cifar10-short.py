_base_ = '../ce/ce_resnet32_cifar10-short.py'

# Ren et al., ICML 2018: all weights are learned, from the first epoch on.
train_dataloader = dict(dataset=dict(held_out=10))
custom_hooks = [dict(type='L2RWHook')]
