_base_ = '../ce/ce-mixup_resnet152_places.py'

# Stage 1 (Li et al., CVPR 2022, Sec. 4.2): the representation, with mixup and instance sampling.
model = dict(head=dict(type='CosineHead', scale=30), loss=dict(type='GCLLoss', cloud_size=1.0))
