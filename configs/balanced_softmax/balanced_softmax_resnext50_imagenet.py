_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50.py',
    '../_base_/schedules/decouple_90e.py',
    '../_base_/default_runtime.py',
]

# Ren et al., NeurIPS 2020, Sec. 3.1, with the schedule of Hong et al., CVPR 2021.
train_dataloader = dict(batch_size=256)
model = dict(loss=dict(type='BalancedSoftmaxLoss'))
optim_wrapper = dict(optimizer=dict(lr=0.05))
auto_scale_lr = dict(base_batch_size=256)
