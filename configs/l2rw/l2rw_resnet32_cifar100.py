_base_ = [
    '../_base_/datasets/cifar100_lt_dev.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e_meta.py',
    '../_base_/default_runtime.py',
]

# Ren et al., ICML 2018: all weights are learned, from the first epoch on.
custom_hooks = [dict(type='L2RWHook', dev_batch_size=100)]
