_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50.py',
    '../_base_/schedules/decouple_90e.py',
    '../_base_/default_runtime.py',
]

# The reference row of the decoupling papers (Kang et al., ICLR 2020): batches of 512.
