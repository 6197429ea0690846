_base_ = '../ce/ce_resnet20_digits.py'

# Stage 1 (Li et al., CVPR 2022): the representation, with instance sampling.
model = dict(
    head=dict(type='CosineHead', scale=30),
    loss=dict(type='GCLLoss', cloud_size=0.5))
