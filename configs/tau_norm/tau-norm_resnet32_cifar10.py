_base_ = '../ce/ce_resnet32_cifar10.py'

# Kang et al., ICLR 2020, Sec. 4: nothing is trained, long rows of the classifier are cut back;
# tau, and the bias that stays, as in the code of Zhang et al., AAAI 2021.
init_from = dict(config='ce_resnet32_cifar10', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(type='TauNormHead', tau=1.0, bias=True))
train_cfg = dict(max_epochs=0)
