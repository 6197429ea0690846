_base_ = './mislas_resnet32_cifar100.py'

init_from = dict(config='mislas-stage1_resnet32_cifar100-if50.py')
train_dataloader = dict(dataset=dict(imbalance=50))
model = dict(loss=dict(head=0.3, tail=0.0))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=0.1)}))
