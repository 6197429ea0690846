_base_ = '../ce/ce_resnext50_imagenet.py'

# Kang et al., ICLR 2020, Sec. 3: from natural to balanced over the epochs.
train_dataloader = dict(sampler=dict(type='ProgressiveSampler'))
