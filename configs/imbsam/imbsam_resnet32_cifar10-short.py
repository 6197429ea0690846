_base_ = '../ce/ce_resnet32_cifar10-short.py'

# Zhou et al., ICCV 2023: sharpness-aware for classes below 200 images.
optim_wrapper = dict(type='ImbSAM', rho=0.05, threshold=200)
