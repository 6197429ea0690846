_base_ = '../ce/ce_resnet32_cifar100.py'

# Stage 1 (Li et al., CVPR 2022, Sec. 4.2): the representation, with mixup and instance sampling.
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=1.0))
model = dict(
    head=dict(type='CosineHead', scale=30),
    loss=dict(type='GCLLoss', cloud_size=0.5))
