_base_ = './gcl_resnet20_digits.py'

# Li et al., IEEE TAI 2024: the noise turns angles instead of lowering cosines.
model = dict(loss=dict(type='AngularGCLLoss'))
