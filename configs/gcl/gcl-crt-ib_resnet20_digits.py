_base_ = './gcl_resnet20_digits.py'

# Stage 2 (Li et al., CVPR 2022, Table 4): the classifier alone, on instance-balanced samples.
init_from = dict(config='gcl_resnet20_digits.py', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(scale=20), loss=dict(margin=0.1, focal_gamma=1.0))
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=20)]
train_cfg = dict(max_epochs=20)
