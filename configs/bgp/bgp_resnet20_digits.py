_base_ = '../ce/ce_resnet20_digits.py'

# After the abstract of Wang et al., ACM MM 2022; formula and strength are ours.
model = dict(loss=dict(type='LogitGradientPenalty', strength=1.0, balanced=True))
