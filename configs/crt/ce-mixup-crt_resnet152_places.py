_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152_last_block.py',
    '../_base_/schedules/gcl_retrain_30e.py',
    '../_base_/default_runtime.py',
]

# The classifier goes on from stage 1, without mixup, as in the code of Li et al., CVPR 2022.
init_from = dict(config='ce-mixup_resnet152_places', parts=['backbone', 'head'])
train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
model = dict(frozen=['backbone'])
