_base_ = './deconfound_resnext50_imagenet.py'

# Tang et al., NeurIPS 2020, Eq. 8: nothing is trained, the mean direction of features is taken out.
init_from = dict(config='deconfound_resnext50_imagenet', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(alpha=3.0))
train_cfg = dict(max_epochs=0)
