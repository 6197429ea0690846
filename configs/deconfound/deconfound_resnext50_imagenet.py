_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50.py',
    '../_base_/schedules/decouple_90e.py',
    '../_base_/default_runtime.py',
]

# Tang et al., NeurIPS 2020, Eq. 3: a normalised classifier in two parts.
model = dict(head=dict(type='CausalNormHead'))
