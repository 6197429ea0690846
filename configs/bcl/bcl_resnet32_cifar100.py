_base_ = [
    '../_base_/datasets/cifar100_lt_three_views.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e.py',
    '../_base_/default_runtime.py',
]

# Zhu et al., CVPR 2022: balanced softmax, and balanced contrast of two more views.
train_dataloader = dict(batch_size=256)
model = dict(
    type='BCLClassifier',
    loss=dict(type='BalancedSoftmaxLoss'),
    classification=2.0,
    contrast=0.6)
optim_wrapper = dict(optimizer=dict(lr=0.15, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=256)
