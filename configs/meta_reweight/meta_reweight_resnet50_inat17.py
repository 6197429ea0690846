_base_ = '../ce/ce_resnet50_inat17.py'

# Jamal et al., CVPR 2020: plain training, then learned sample weights; five images a class are held
# out for them.
train_dataloader = dict(dataset=dict(held_out=5))
custom_hooks = [dict(type='MetaReweightHook', begin=60, tau=0.01, beta=0.999)]
