_base_ = '../ce/ce_resnet32_cifar10-short.py'

# Kang et al., ICLR 2020: a new classifier on frozen features, class-balanced samples.
init_from = dict(config='ce_resnet32_cifar10-short.py', parts=['backbone'])
train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
model = dict(frozen=['backbone'])
param_scheduler = [dict(type='CosineAnnealingLR', T_max=10)]
train_cfg = dict(max_epochs=10)
