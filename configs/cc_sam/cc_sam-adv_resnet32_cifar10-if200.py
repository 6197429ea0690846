_base_ = './cc_sam-adv_resnet32_cifar10.py'

init_from = dict(config='cc_sam_resnet32_cifar10-if200')
train_dataloader = dict(dataset=dict(imbalance=200))
