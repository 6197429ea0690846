_base_ = '../ce/ce_resnet20_digits.py'

# Lin et al., ICCV 2017, as one two-way problem a class (Cui et al., CVPR 2019, Table 2, gamma 1).
model = dict(
    head=dict(bias_init='prior'),
    loss=dict(type='FocalLoss', gamma=1.0, form='sigmoid'))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.bias': dict(decay_mult=0.0)}))
