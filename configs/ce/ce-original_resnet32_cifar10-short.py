_base_ = [
    '../_base_/datasets/cifar10_lt_original.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/short_30e.py',
    '../_base_/default_runtime.py',
]

model = dict(precision='bfloat16', channels_last=True)
