_base_ = '../ce/ce_resnet20_digits.py'

# Hong et al., CVPR 2021, Eqs. 5-9: balanced softmax and a bound that frees logits of the prior.
model = dict(loss=dict(type='LADELoss'))
