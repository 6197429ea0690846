_base_ = './lws_resnet20_digits.py'

init_from = dict(config='ce-mixup_resnet20_digits')
