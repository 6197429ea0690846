_base_ = './ce_resnet32_cifar10-short.py'

# Other images of each class in the tail, drawn by the same rule from the next seed.
train_dataloader = dict(dataset=dict(selection_seed=1))
