_base_ = './ce-mixup-crt_resnet32_cifar10.py'

init_from = dict(config='ce-mixup_resnet32_cifar10-if50')
train_dataloader = dict(dataset=dict(imbalance=50))
