_base_ = './gcl_resnet32_cifar100.py'

# Stage 2 (Sec. 3.3): the classifier alone, on effective-number samples.
init_from = dict(config='gcl_resnet32_cifar100.py', parts=['backbone', 'head'])
train_dataloader = dict(sampler=dict(type='CBENSampler', beta=(0.9999, 0.99991)))
model = dict(frozen=['backbone'], head=dict(scale=20), loss=dict(margin=0.1, focal_gamma=1.0))
optim_wrapper = dict(optimizer=dict(lr=0.002))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30)]
train_cfg = dict(max_epochs=30)
