_base_ = './gcl-crt_resnet32_cifar100.py'

# Stage 2 on turned angles, without a margin as in the authors' code (Li et al., IEEE TAI 2024).
init_from = dict(config='gcl-angular_resnet32_cifar100.py')
model = dict(loss=dict(type='AngularGCLLoss', margin=0.0))
