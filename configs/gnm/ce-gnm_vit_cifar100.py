_base_ = './ce_vit_cifar100.py'

# Li et al., NeurIPS 2024, Eqs. 1-3: the gradient at a random point nearby.
optim_wrapper = dict(type='GNM', rho=0.005)
