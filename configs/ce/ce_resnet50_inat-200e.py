_base_ = [
    '../_base_/datasets/inat2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/decouple_200e.py',
    '../_base_/default_runtime.py',
]

# Kang et al., ICLR 2020, Sec. 4: the longer of their two schedules for iNaturalist.
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
