_base_ = '../balanced_softmax/balanced_softmax_resnet152_places.py'

# Hong et al., CVPR 2021, Eqs. 5-9: the pretrained network is tuned fifty times slower.
model = dict(loss=dict(type='LADELoss', lam=0.1, alpha=0.005))
optim_wrapper = dict(
    optimizer=dict(lr=0.05),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.02)}))
