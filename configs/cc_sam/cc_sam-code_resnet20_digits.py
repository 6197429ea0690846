_base_ = '../ce/ce_resnet20_digits.py'

# Stage 1 with the values of the authors' code (July 2023), without mixup.
optim_wrapper = dict(type='CCSAM', radius=1e-6, mix=0.3, grad_norm='tensor')
