_base_ = './cb-ce_resnet32_cifar100.py'

train_dataloader = dict(dataset=dict(imbalance=10))
custom_hooks = [dict(type='DeferredReweightHook', begin=0, beta=0.999, mean='plain')]
