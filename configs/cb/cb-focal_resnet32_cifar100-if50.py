_base_ = './cb-focal_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=50))
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.99, mean='plain')]
