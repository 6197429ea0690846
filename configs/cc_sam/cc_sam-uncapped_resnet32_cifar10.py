_base_ = './cc_sam_resnet32_cifar10.py'

# The paper's formula without a bound; the radius grows as a class gets fitted.
optim_wrapper = dict(max_relative_radius=None)
