_base_ = '../ce/ce_resnext50_imagenet.py'

# Kang et al., ICLR 2020, Sec. 4: no classifier, the nearest mean of the training features.
init_from = dict(config='ce_resnext50_imagenet', parts=['backbone'])
model = dict(frozen=['backbone'], head=dict(type='NCMHead'))
train_cfg = dict(max_epochs=0)
custom_hooks = [dict(type='ClassMeanHook')]
