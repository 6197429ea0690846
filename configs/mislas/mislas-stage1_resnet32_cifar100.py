_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# Stage 1 (Zhong et al., CVPR 2021, Sec. 3.1): features with mixup, batches of 128.
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=1.0))
