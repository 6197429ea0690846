_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet20_grey.py',
    '../_base_/schedules/retrain_digits_20e.py',
    '../_base_/default_runtime.py',
]

# Stage 2 (Jin et al., CVPR 2023): new classifiers under balanced softmax, on the same batches.
init_from = dict(config='shike-stage1_resnet20_digits.py', parts=['backbone'])
model = dict(
    backbone=dict(type='SHIKECIFARResNet'),
    frozen=['backbone'],
    frozen_bn='shift',
    head=dict(type='ExpertHead', expert=dict(type='CosineHead')),
    loss=dict(type='BalancedSoftmaxLoss'))
