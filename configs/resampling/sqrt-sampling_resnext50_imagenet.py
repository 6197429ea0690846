_base_ = '../ce/ce_resnext50_imagenet.py'

# Kang et al., ICLR 2020, Sec. 3: by the square root of the class size.
train_dataloader = dict(sampler=dict(type='SquareRootSampler'))
