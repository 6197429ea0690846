_base_ = '../ce/ce_resnet32_cifar10-steep.py'

# Kwon et al., ICML 2021: a neighbourhood that follows the size of each weight.
optim_wrapper = dict(type='SAM', rho=0.5, adaptive=True)
