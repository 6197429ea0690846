_base_ = '../ncm/ncm_resnet20_digits.py'

# The nearest mean of features that were trained with GCL.
init_from = dict(config='gcl_resnet20_digits')
