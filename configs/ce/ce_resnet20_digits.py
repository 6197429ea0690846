_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet20_grey.py',
    '../_base_/schedules/digits_60e.py',
    '../_base_/default_runtime.py',
]
