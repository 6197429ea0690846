_base_ = './gcl_resnet32_cifar10.py'

# Li et al., IEEE TAI 2024: the noise turns angles instead of lowering cosines.
model = dict(loss=dict(type='AngularGCLLoss'))
