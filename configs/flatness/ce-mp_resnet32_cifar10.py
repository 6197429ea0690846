_base_ = '../ce/ce_resnet32_cifar10.py'

# A flattening tool beside CC-SAM (Zhou et al., CVPR 2023): perturbed weights in stage 1.
optim_wrapper = dict(type='ModelPerturbation', draws=2, bound=0.01, include=['^backbone'])
