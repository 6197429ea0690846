_base_ = '../ce/ce_resnet20_digits.py'

# Kini et al., NeurIPS 2021: temperatures and shifts together.
model = dict(loss=dict(type='VSLoss', gamma=0.15, tau=1.25))
