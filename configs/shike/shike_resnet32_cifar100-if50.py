_base_ = './shike_resnet32_cifar100.py'

init_from = dict(config='shike-stage1_resnet32_cifar100-if50.py')
train_dataloader = dict(dataset=dict(imbalance=50))
