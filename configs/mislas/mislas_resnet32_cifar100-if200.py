_base_ = './mislas_resnet32_cifar100.py'

init_from = dict(config='mislas-stage1_resnet32_cifar100-if200.py')
train_dataloader = dict(dataset=dict(imbalance=200))
