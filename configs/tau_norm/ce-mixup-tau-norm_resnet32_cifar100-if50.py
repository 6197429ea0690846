_base_ = './ce-mixup-tau-norm_resnet32_cifar100.py'

init_from = dict(config='ce-mixup_resnet32_cifar100-if50')
train_dataloader = dict(dataset=dict(imbalance=50))
