_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e_steep.py',
    '../_base_/default_runtime.py',
]

# Wang et al., ICLR 2021: three experts, class weights in the last fifth.
model = dict(
    backbone=dict(type='RIDECIFARResNet'),
    head=dict(type='ExpertHead', expert=dict(type='CosineHead')),
    loss=dict(type='RIDELoss', diversity=0.45, begin=160))
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4, nesterov=True))
