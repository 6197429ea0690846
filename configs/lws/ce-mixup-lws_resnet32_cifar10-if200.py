_base_ = './ce-mixup-lws_resnet32_cifar10.py'

init_from = dict(config='ce-mixup_resnet32_cifar10-if200')
train_dataloader = dict(dataset=dict(imbalance=200))
