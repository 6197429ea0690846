_base_ = [
    '../_base_/datasets/inat2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/decouple_90e.py',
    '../_base_/default_runtime.py',
]

# The reference row of the decoupling papers (Kang et al., ICLR 2020): batches of 512.
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
