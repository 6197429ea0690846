_base_ = './gcl-crt-ib_resnet20_digits.py'

# Li et al., CVPR 2022, Table 4: class-balanced samples.
train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
