_base_ = '../ce/ce_resnet32_cifar10-steep.py'

# Stage 2 (Cui et al., CVPR 2018, Sec. 3.2): the whole network on a balanced subset, at a low rate.
init_from = dict(config='ce_resnet32_cifar10-steep.py', parts=['backbone', 'head'])
train_dataloader = dict(sampler=dict(type='BalancedSubsetSampler', per_class=10))
model = dict(norm_eval=True)
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30)]
train_cfg = dict(max_epochs=30)
