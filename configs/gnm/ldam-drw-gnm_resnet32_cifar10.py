_base_ = '../ldam/ldam-drw_resnet32_cifar10.py'

# Li et al., NeurIPS 2024, Eqs. 1-3: the gradient at a random point nearby.
optim_wrapper = dict(type='GNM', rho=0.005, halve_at=160, exclude_norm_bias=True)
