_base_ = '../gnm/gcl-drw_resnet32_cifar10-short.py'

# Foret et al., ICLR 2021, in the tables of Li et al., NeurIPS 2024.
optim_wrapper = dict(type='SAM', rho=0.05)
