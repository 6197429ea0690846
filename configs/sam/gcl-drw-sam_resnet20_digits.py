_base_ = '../gnm/gcl-drw_resnet20_digits.py'

# Foret et al., ICLR 2021.
optim_wrapper = dict(type='SAM', rho=0.05)
