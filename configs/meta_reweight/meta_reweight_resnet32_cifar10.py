_base_ = [
    '../_base_/datasets/cifar10_lt_dev.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e_meta.py',
    '../_base_/default_runtime.py',
]

# Jamal et al., CVPR 2020: 160 plain epochs, then class weights and a learned part for each sample.
custom_hooks = [
    dict(
        type='MetaReweightHook',
        begin=160,
        tau=0.01,
        beta=0.9999,
        dev_batch_size=100,
        recompute=['backbone.layer1.0', 'backbone.layer1.1', 'backbone.layer1.2',
                   'backbone.layer1.3'])]
