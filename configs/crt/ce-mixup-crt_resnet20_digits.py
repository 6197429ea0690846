_base_ = '../ce/ce-mixup_resnet20_digits.py'

# Mixup in both stages; the classifier goes on from stage 1.
init_from = dict(config='ce-mixup_resnet20_digits', parts=['backbone', 'head'])
train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
model = dict(frozen=['backbone'])
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=20)]
train_cfg = dict(max_epochs=20)
