_base_ = [
    '../_base_/datasets/cifar100_lt_strong.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/shike_180e.py',
    '../_base_/default_runtime.py',
]

# Stage 1 (Jin et al., CVPR 2023): experts with fused maps teach each other.
model = dict(
    backbone=dict(type='SHIKECIFARResNet'),
    head=dict(type='ExpertHead', expert=dict(type='CosineHead')),
    loss=dict(type='SHIKELoss'))
