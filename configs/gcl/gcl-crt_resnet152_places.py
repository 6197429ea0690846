_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152_last_block.py',
    '../_base_/schedules/gcl_retrain_30e.py',
    '../_base_/default_runtime.py',
]

# Stage 2 (Li et al., CVPR 2022, Sec. 3.3): the classifier alone, on effective-number samples.
init_from = dict(config='gcl_resnet152_places.py', parts=['backbone', 'head'])
train_dataloader = dict(sampler=dict(type='CBENSampler', beta=(0.9999, 0.99991)))
model = dict(
    frozen=['backbone'],
    head=dict(type='CosineHead', scale=15),
    loss=dict(type='GCLLoss', cloud_size=1.0, margin=0.1, focal_gamma=1.0))
