_base_ = './gcl-drw_vit_cifar100.py'

# GNM-PT (Li et al., NeurIPS 2024): the gradient at a random point nearby.
optim_wrapper = dict(type='GNM', rho=0.005, halve_at=60)
