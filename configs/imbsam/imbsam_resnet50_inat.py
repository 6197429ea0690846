_base_ = '../ce/ce_resnet50_inat.py'

# Zhou et al., ICCV 2023: sharpness-aware for classes below 20 images.
optim_wrapper = dict(type='ImbSAM', rho=0.05, threshold=20)
