_base_ = './deconfound_resnet20_digits.py'

# Tang et al., NeurIPS 2020, Eq. 8: nothing is trained, the mean direction of features is taken out.
init_from = dict(config='deconfound_resnet20_digits', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(alpha=1.0))
train_cfg = dict(max_epochs=0)
