_base_ = '../ce/ce_resnet32_cifar100-steep.py'

# Ren et al., NeurIPS 2020, Sec. 3.1: class counts inside the softmax.
model = dict(loss=dict(type='BalancedSoftmaxLoss'))
