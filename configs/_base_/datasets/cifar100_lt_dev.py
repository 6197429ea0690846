# CIFAR-100-LT with ten images a class held out as a development set before the tail is cut; images,
# normalisation, reflected padding and batches of the code of Jamal et al., CVPR 2020.
_base_ = './cifar100_lt.py'

data_preprocessor = dict(
    mean=[0.4914, 0.4824, 0.4467],
    std=[0.2471, 0.2435, 0.2616],
    augment=[dict(type='PadCropFlip', padding=4, mode='reflect')])
train_dataloader = dict(batch_size=100, dataset=dict(held_out=10, selection='jamal'))
