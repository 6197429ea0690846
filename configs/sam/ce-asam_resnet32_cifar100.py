_base_ = '../ce/ce_resnet32_cifar100-steep.py'

# Kwon et al., ICML 2021: a neighbourhood that follows the size of each weight.
optim_wrapper = dict(type='SAM', rho=1.0, adaptive=True)
