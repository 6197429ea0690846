_base_ = '../ce/ce_resnext50_imagenet.py'

# Kang et al., ICLR 2020, Sec. 3: every class equally often, four images of it in its turn.
train_dataloader = dict(sampler=dict(type='ClassAwareSampler'))
