_base_ = [
    '../_base_/datasets/inat2018.py',
    '../_base_/models/resnet50.py',
    '../_base_/schedules/decouple_retrain_10e.py',
    '../_base_/default_runtime.py',
]

# Kang et al., ICLR 2020, Sec. 4: a new classifier on frozen features, four images of a class in
# its turn. As in their code batch norm follows the balanced batches.
init_from = dict(config='ce_resnet50_inat', parts=['backbone'])
train_dataloader = dict(sampler=dict(type='ClassAwareSampler'))
model = dict(frozen=['backbone'], frozen_bn='shift')
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30)]
train_cfg = dict(max_epochs=30)
