_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/mislas_180e.py',
    '../_base_/default_runtime.py',
]

# Stage 1 (Zhong et al., CVPR 2021, Sec. 3.1): features with mixup.
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=0.2))
train_dataloader = dict(batch_size=256)
