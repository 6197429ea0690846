_base_ = '../ce/ce_resnet20_digits.py'

# Li et al., CVPR 2022: three networks, three hard classes of ten.
model = dict(
    backbone=dict(type='IndependentExperts', network='CIFARResNet'),
    head=dict(type='ExpertHead', expert=dict(type='LinearHead')),
    loss=dict(type='NCLLoss'))
