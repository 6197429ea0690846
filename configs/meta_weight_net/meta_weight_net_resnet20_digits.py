_base_ = '../ce/ce_resnet20_digits.py'

# Shu et al., NeurIPS 2019: a network maps the loss of a sample to its weight.
train_dataloader = dict(dataset=dict(held_out=10))
custom_hooks = [dict(type='MetaWeightNetHook', hidden=100, lr=1e-3)]
