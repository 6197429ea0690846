_base_ = './cb-finetune_resnet32_cifar100.py'

init_from = dict(config='ce_resnet32_cifar100-if1-steep.py')
train_dataloader = dict(dataset=dict(imbalance=1))
