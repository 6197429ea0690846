_base_ = '../ce/ce-mixup_resnet32_cifar10.py'

# Mixup in both stages; the classifier goes on from stage 1,
# as in the GCL tables (Li et al., CVPR 2022, Table 1).
init_from = dict(config='ce-mixup_resnet32_cifar10', parts=['backbone', 'head'])
train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
model = dict(frozen=['backbone'])
optim_wrapper = dict(optimizer=dict(lr=0.002))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30)]
train_cfg = dict(max_epochs=30)
