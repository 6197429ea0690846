_base_ = '../ce/ce_resnet32_imagenet.py'

# Jamal et al., CVPR 2020: two thirds of plain training, then learned sample weights. The twenty
# development images a class are the official validation list, so that only the test set is left to
# follow the training on.
train_dataloader = dict(dataset=dict(held_out=20))
val_dataloader = dict(dataset=dict(split='test'))
custom_hooks = [dict(type='MetaReweightHook', begin=70, tau=0.01, beta=0.9999)]
