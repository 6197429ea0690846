_base_ = '../ce/ce_resnet32_cifar10.py'

# Li et al., CVPR 2022, Table 5: rows of the cosine classifier, not normalised in full.
init_from = dict(config='gcl_resnet32_cifar10', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(type='TauNormHead', tau=0.7))
train_cfg = dict(max_epochs=0)
