_base_ = [
    '../_base_/datasets/places_lt.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/steps_30e.py',
    '../_base_/default_runtime.py',
]

# The reference row of meta-reweighting (Jamal et al., CVPR 2020): the whole network is tuned.
train_dataloader = dict(batch_size=128)
