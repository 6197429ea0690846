_base_ = './ce_vit_cifar100.py'

# The comparison of Li et al., NeurIPS 2024, with SAM (Foret et al., ICLR 2021).
optim_wrapper = dict(type='SAM', rho=0.05)
