_base_ = [
    '../_base_/datasets/inat2017.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/finetune_90e.py',
    '../_base_/default_runtime.py',
]

# The reference row of meta-reweighting (Jamal et al., CVPR 2020): from the weights of ImageNet.
train_dataloader = dict(batch_size=256)
model = dict(backbone=dict(weights='IMAGENET1K_V1'))
