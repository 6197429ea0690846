_base_ = './cc_sam-adv_resnet32_cifar10-short.py'

# From a first stage that learns: the paper's formula with a hundredth of its radius.
init_from = dict(config='cc_sam-radius1e-2_resnet32_cifar10-short')
