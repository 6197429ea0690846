_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e_steep.py',
    '../_base_/default_runtime.py',
]

# The reference row of the class-balanced, LDAM and meta-reweighting tables
# (Cui et al., CVPR 2019, Table 2; Jamal et al., CVPR 2020): batches of 128, steep steps.
