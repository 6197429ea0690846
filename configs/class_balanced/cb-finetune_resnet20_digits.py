_base_ = '../ce/ce_resnet20_digits.py'

# Stage 2 (Cui et al., CVPR 2018, Sec. 3.2): the whole network on a balanced subset, at a low rate.
init_from = dict(config='ce_resnet20_digits.py', parts=['backbone', 'head'])
train_dataloader = dict(sampler=dict(type='BalancedSubsetSampler'))
model = dict(norm_eval=True)
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=20)]
train_cfg = dict(max_epochs=20)
