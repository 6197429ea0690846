_base_ = '../ce/ce_resnet32_cifar100.py'

# Stage 1 with the values of the authors' first code (March 2023).
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=1.0))
optim_wrapper = dict(
    type='CCSAM', radius=1e-7, mix=0.2, grad_norm='tensor', param_norm='tensor',
    flat_target='first')
