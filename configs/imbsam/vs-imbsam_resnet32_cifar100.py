_base_ = '../vs/vs_resnet32_cifar100.py'

# Zhou et al., ICCV 2023: sharpness-aware for classes below 20 images.
optim_wrapper = dict(type='ImbSAM', rho=0.05, threshold=20)
