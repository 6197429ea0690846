_base_ = [
    '../_base_/datasets/cifar10_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e_batch256.py',
    '../_base_/default_runtime.py',
]

# Hong et al., CVPR 2021, Eqs. 5-9, with the schedule of their code.
train_dataloader = dict(batch_size=256)
model = dict(loss=dict(type='LADELoss', lam=0.01, alpha=0.1))
