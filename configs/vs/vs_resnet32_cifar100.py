_base_ = '../ce/ce_resnet32_cifar100-steep.py'

# Kini et al., NeurIPS 2021: temperatures and shifts together.
model = dict(loss=dict(type='VSLoss', gamma=0.05, tau=0.75))
