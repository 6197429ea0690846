_base_ = './gcl-crt-ib_resnet32_cifar10.py'

# Li et al., CVPR 2022, Table 4: samples by the effective number.
train_dataloader = dict(sampler=dict(type='EffectiveNumberSampler', beta=0.9999))
