_base_ = '../ce/ce_resnet32_cifar100.py'

# Menon et al., ICLR 2021, Sec. 4.1: nothing is trained, the log prior is taken off the logits.
init_from = dict(config='ce_resnet32_cifar100', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(type='LogitAdjustedHead', tau=1.0))
train_cfg = dict(max_epochs=0)
