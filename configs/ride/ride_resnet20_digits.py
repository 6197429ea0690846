_base_ = '../ce/ce_resnet20_digits.py'

# Wang et al., ICLR 2021: three experts, class weights in the last fifth.
model = dict(
    backbone=dict(type='RIDECIFARResNet'),
    head=dict(type='ExpertHead', expert=dict(type='CosineHead')),
    loss=dict(type='RIDELoss', begin=48))
