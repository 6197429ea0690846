_base_ = '../ce/ce_resnet20_digits.py'

# Ren et al., ICML 2018: all weights are learned, from the first epoch on.
train_dataloader = dict(dataset=dict(held_out=10))
custom_hooks = [dict(type='L2RWHook')]
