_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# The reference row of the GCL tables (Li et al., CVPR 2022, Table 1): batches of 64.
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
