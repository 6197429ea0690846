_base_ = '../ce/ce_resnet32_cifar10.py'

# Stage 1 with the values of the authors' first code (March 2023).
optim_wrapper = dict(
    type='CCSAM', radius=1e-2, mix=1.0, grad_norm='tensor', param_norm='tensor')
