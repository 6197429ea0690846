_base_ = [
    '../_base_/datasets/places_lt_colour.py',
    '../_base_/models/resnet152.py',
    '../_base_/schedules/steps_30e.py',
    '../_base_/default_runtime.py',
]

# Ren et al., NeurIPS 2020, Sec. 3.1, with the schedule of Hong et al., CVPR 2021: the pretrained
# network is tuned a hundred times slower than the classifier.
train_dataloader = dict(batch_size=128)
model = dict(loss=dict(type='BalancedSoftmaxLoss'))
optim_wrapper = dict(
    optimizer=dict(lr=0.1),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}))
