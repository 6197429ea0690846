_base_ = './meta_reweight_resnet32_cifar100.py'

# The margins of LDAM (Cao et al., NeurIPS 2019) in place of cross-entropy.
model = dict(
    head=dict(type='CosineHead', scale=30),
    loss=dict(type='LDAMLoss', max_margin=0.5))
