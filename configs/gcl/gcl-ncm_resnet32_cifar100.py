_base_ = '../ncm/ncm_resnet32_cifar100.py'

# The nearest mean of features that were trained with GCL.
init_from = dict(config='gcl_resnet32_cifar100')
