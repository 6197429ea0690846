_base_ = '../crt/crt_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): a gradient-norm penalty in stage 2.
optim_wrapper = dict(type='GradientNormPenalty', rho=0.1, share=0.8)
