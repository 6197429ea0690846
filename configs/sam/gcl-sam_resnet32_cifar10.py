_base_ = '../gcl/gcl_resnet32_cifar10.py'

# Foret et al., ICLR 2021, under the GCL loss.
optim_wrapper = dict(type='SAM', rho=0.05)
