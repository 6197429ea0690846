_base_ = [
    '../_base_/datasets/cifar100_lt_dev.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e_meta.py',
    '../_base_/default_runtime.py',
]

# Shu et al., NeurIPS 2019: a network maps the loss of a sample to its weight.
custom_hooks = [dict(type='MetaWeightNetHook', hidden=100, lr=1e-3, dev_batch_size=100)]
