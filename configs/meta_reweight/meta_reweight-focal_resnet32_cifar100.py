_base_ = './meta_reweight_resnet32_cifar100.py'

# The focal loss in its softmax form (Lin et al., ICCV 2017) in place of cross-entropy.
model = dict(loss=dict(type='FocalLoss', gamma=1.0))
