_base_ = './cc_sam_resnet32_cifar10-short.py'

# The paper's formula with a fraction of its radius.
optim_wrapper = dict(radius=1e-2)
