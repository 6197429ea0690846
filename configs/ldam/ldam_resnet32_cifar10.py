_base_ = '../ce/ce_resnet32_cifar10-steep.py'

# Cao et al., NeurIPS 2019, Eqs. 12-13: a margin that grows as the class gets rarer.
model = dict(
    head=dict(type='CosineHead', scale=30),
    loss=dict(type='LDAMLoss', max_margin=0.5))
