_base_ = [
    '../_base_/datasets/digits_lt_vit.py',
    '../_base_/models/vit_digits.py',
    '../_base_/schedules/vit_digits_100e.py',
    '../_base_/default_runtime.py',
]
