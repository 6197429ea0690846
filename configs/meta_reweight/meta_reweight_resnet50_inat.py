_base_ = '../ce/ce_resnet50_inat-finetune.py'

# Jamal et al., CVPR 2020: plain training, then learned sample weights; two images a class are held
# out for them, or shared where a class has no more.
train_dataloader = dict(dataset=dict(held_out=2))
custom_hooks = [dict(type='MetaReweightHook', begin=60, tau=0.01, beta=0.999)]
