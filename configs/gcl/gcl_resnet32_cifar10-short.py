_base_ = '../ce/ce_resnet32_cifar10-short.py'

# Stage 1 without mixup, which needs a longer schedule than this one.
model = dict(
    head=dict(type='CosineHead', scale=30),
    loss=dict(type='GCLLoss', cloud_size=0.5))
