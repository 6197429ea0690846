_base_ = './imbsam_resnet32_cifar100.py'

# The rarest class has 50 images; below 100 are the classes that have less than 20 at factor 100.
optim_wrapper = dict(threshold=100)
train_dataloader = dict(dataset=dict(imbalance=10))
