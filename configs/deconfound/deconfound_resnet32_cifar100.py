_base_ = [
    '../_base_/datasets/cifar100_lt.py',
    '../_base_/models/resnet32.py',
    '../_base_/schedules/cifar_200e_batch256.py',
    '../_base_/default_runtime.py',
]

# Tang et al., NeurIPS 2020, Eq. 3: a normalised classifier in two parts, with the schedule of
# their code.
train_dataloader = dict(batch_size=256)
model = dict(head=dict(type='CausalNormHead'))
