_base_ = '../ce/ce_resnet20_digits.py'

# Tang et al., NeurIPS 2020, Eq. 3: a normalised classifier in two parts.
model = dict(head=dict(type='CausalNormHead'))
