_base_ = './la-posthoc_resnet32_cifar10.py'

init_from = dict(config='ce_resnet32_cifar10-if200')
train_dataloader = dict(dataset=dict(imbalance=200))
