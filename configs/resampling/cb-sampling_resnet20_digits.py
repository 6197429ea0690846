_base_ = '../ce/ce_resnet20_digits.py'

# Kang et al., ICLR 2020, Sec. 3: every class equally often.
train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
