_base_ = '../ce/ce_resnext50_imagenet.py'

# Kang et al., ICLR 2020, Sec. 4: nothing is trained, long rows of the classifier are cut back.
init_from = dict(config='ce_resnext50_imagenet', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(type='TauNormHead', tau=0.7))
train_cfg = dict(max_epochs=0)
