_base_ = './mislas_resnet32_cifar10.py'

init_from = dict(config='mislas-stage1_resnet32_cifar10-if10.py')
train_dataloader = dict(dataset=dict(imbalance=10))
model = dict(loss=dict(head=0.1))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=0.2)}))
