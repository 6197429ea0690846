_base_ = './ce_resnet20_digits.py'

# Mixup of images (Zhang et al., ICLR 2018).
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=1.0))
