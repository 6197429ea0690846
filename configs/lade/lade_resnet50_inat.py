_base_ = '../balanced_softmax/balanced_softmax_resnet50_inat.py'

# Hong et al., CVPR 2021, Eqs. 5-9.
model = dict(loss=dict(type='LADELoss', lam=0.5, alpha=0.05))
