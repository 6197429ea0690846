_base_ = '../ce/ce-original_resnet32_cifar10-short.py'

model = dict(
    head=dict(type='CosineHead', scale=30),
    loss=dict(type='GCLLoss', cloud_size=0.5))
