_base_ = '../ce/ce_resnet152_places-steps.py'

# Jamal et al., CVPR 2020: two thirds of plain training, then learned sample weights. The ten
# development images a class come from the official validation list; the other ten validate.
train_dataloader = dict(dataset=dict(held_out=10))
val_dataloader = dict(dataset=dict(held_out=10))
custom_hooks = [dict(type='MetaReweightHook', begin=20, tau=0.01, beta=0.9999)]
