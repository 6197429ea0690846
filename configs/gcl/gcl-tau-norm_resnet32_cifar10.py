_base_ = '../tau_norm/tau-norm_resnet32_cifar10.py'

# Li et al., CVPR 2022, Table 5: rows of the cosine classifier, not normalised in full.
init_from = dict(config='gcl_resnet32_cifar10')
model = dict(head=dict(tau=0.7))
