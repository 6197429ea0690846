_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/resnext50.py',
    '../_base_/schedules/decouple_retrain_10e.py',
    '../_base_/default_runtime.py',
]

# Kang et al., ICLR 2020, Sec. 4: a new classifier on frozen features, four images of a class in
# its turn. As in their code batch norm follows the balanced batches.
init_from = dict(config='ce_resnext50_imagenet', parts=['backbone'])
train_dataloader = dict(sampler=dict(type='ClassAwareSampler'))
model = dict(frozen=['backbone'], frozen_bn='shift')
