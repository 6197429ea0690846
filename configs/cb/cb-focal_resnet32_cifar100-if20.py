_base_ = './cb-focal_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=20))
model = dict(loss=dict(gamma=0.5))
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.99, mean='plain')]
