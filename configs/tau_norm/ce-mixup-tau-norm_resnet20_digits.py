_base_ = './tau-norm_resnet20_digits.py'

init_from = dict(config='ce-mixup_resnet20_digits')
