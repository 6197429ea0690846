_base_ = '../ce/ce_resnet32_cifar10.py'

# Kang et al., ICLR 2020, Sec. 4: no classifier, the nearest mean of the training features.
init_from = dict(config='ce_resnet32_cifar10', parts=['backbone'])
model = dict(frozen=['backbone'], head=dict(type='NCMHead'))
train_cfg = dict(max_epochs=0)
custom_hooks = [dict(type='ClassMeanHook')]
