_base_ = '../ce/ce_resnet20_digits.py'

# Jamal et al., CVPR 2020: class weights and a learned part for each sample, for the last fifth.
train_dataloader = dict(dataset=dict(held_out=10))
custom_hooks = [dict(type='MetaReweightHook', begin=48, tau=0.01, beta=0.99)]
