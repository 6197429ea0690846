_base_ = [
    '../_base_/datasets/inat2018_colour.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/saddle_90e.py',
    '../_base_/default_runtime.py',
]

# Foret et al., ICLR 2021; LDAM-DRW, schedule and radii as in Rangwani et al., NeurIPS 2022.
train_dataloader = dict(batch_size=256)
model = dict(head=dict(type='CosineHead', scale=30), loss=dict(type='LDAMLoss', max_margin=0.3))
optim_wrapper = dict(
    type='SAM',
    rho=[[0, 0.05], [5, 0.1], [60, 0.5]],
    optimizer=dict(lr=0.1, weight_decay=1e-4))
custom_hooks = [dict(type='DeferredReweightHook', begin=60, beta=0.9999)]
