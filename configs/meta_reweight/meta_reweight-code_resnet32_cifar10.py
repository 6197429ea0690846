_base_ = './meta_reweight_resnet32_cifar10.py'

# The rates of the authors' code: the optimizer's fall an epoch early, the virtual step's do not.
param_scheduler = [dict(type='MultiStepLR', milestones=[159, 179], gamma=0.01)]
custom_hooks = [
    dict(
        type='MetaReweightHook',
        begin=160,
        tau=0.01,
        beta=0.9999,
        virtual_lr=[[0, 0.1], [160, 1e-3], [180, 1e-5]],
        dev_batch_size=100,
        recompute=['backbone.layer1.0', 'backbone.layer1.1', 'backbone.layer1.2',
                   'backbone.layer1.3'])]
