_base_ = '../ce/ce_resnet20_digits.py'

# Stage 1 (Jin et al., CVPR 2023): experts with fused maps teach each other.
model = dict(
    backbone=dict(type='SHIKECIFARResNet'),
    head=dict(type='ExpertHead', expert=dict(type='CosineHead')),
    loss=dict(type='SHIKELoss'))
