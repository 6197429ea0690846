_base_ = '../ce/ce_resnet32_cifar10-short.py'

# Jamal et al., CVPR 2020: class weights and a learned part for each sample, for the last fifth.
train_dataloader = dict(dataset=dict(held_out=10))
custom_hooks = [dict(type='MetaReweightHook', begin=24, tau=0.01, beta=0.9999)]
