_base_ = '../ce/ce_resnet32_cifar10-steep.py'

# Foret et al., ICLR 2021; the radius of Rangwani et al., NeurIPS 2022.
optim_wrapper = dict(type='SAM', rho=0.1)
