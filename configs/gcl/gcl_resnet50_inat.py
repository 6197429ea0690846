_base_ = [
    '../_base_/datasets/inat2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/decouple_200e.py',
    '../_base_/default_runtime.py',
]

# Stage 1 (Li et al., CVPR 2022, Sec. 4.2): the representation, with mixup and instance sampling.
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=0.2))
model = dict(head=dict(type='CosineHead', scale=30), loss=dict(type='GCLLoss', cloud_size=1.0))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
