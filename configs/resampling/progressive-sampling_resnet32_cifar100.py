_base_ = '../ce/ce_resnet32_cifar100-steep.py'

# Kang et al., ICLR 2020, Sec. 3: from natural to balanced over the epochs.
train_dataloader = dict(sampler=dict(type='ProgressiveSampler'))
