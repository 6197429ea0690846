_base_ = './cb-finetune_resnet32_cifar10.py'

init_from = dict(config='ce_resnet32_cifar10-if200-steep.py')
train_dataloader = dict(dataset=dict(imbalance=200))
