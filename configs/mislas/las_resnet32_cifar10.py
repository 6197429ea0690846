_base_ = '../ce/ce_resnet32_cifar10-steep.py'

# Label-aware smoothing by itself, in one stage (Zhong et al., CVPR 2021, Sec. 3.2).
model = dict(loss=dict(type='LabelAwareSmoothingLoss', head=0.3, tail=0.0))
