_base_ = '../ce/ce_resnet32_cifar100-steep.py'

# Re-sampling by the effective number (Cao et al., NeurIPS 2019, Table 2, CB-RS).
train_dataloader = dict(sampler=dict(type='EffectiveNumberSampler', beta=0.9999))
