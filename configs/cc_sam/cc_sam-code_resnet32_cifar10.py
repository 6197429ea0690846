_base_ = '../ce/ce_resnet32_cifar10.py'

# Stage 1 with the values of the authors' code (July 2023).
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=1.0))
optim_wrapper = dict(
    type='CCSAM', radius=1e-6, mix=0.3, grad_norm='tensor', flat_target='first')
