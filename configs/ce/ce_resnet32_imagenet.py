_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/steps_105e.py',
    '../_base_/default_runtime.py',
]

# The reference row of meta-reweighting (Jamal et al., CVPR 2020): the network of CIFAR, on images
# of 224 pixels.
train_dataloader = dict(batch_size=256)
