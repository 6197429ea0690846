_base_ = '../ldam/ldam-drw_resnet50_imagenet.py'

# Foret et al., ICLR 2021; the radii of Rangwani et al., NeurIPS 2022.
optim_wrapper = dict(type='SAM', rho=[[0, 0.05], [5, 0.1], [60, 0.5]])
