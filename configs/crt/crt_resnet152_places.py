_base_ = [
    '../_base_/datasets/places_lt_colour.py',
    '../_base_/models/resnet152_last_block.py',
    '../_base_/schedules/decouple_retrain_10e.py',
    '../_base_/default_runtime.py',
]

# Kang et al., ICLR 2020, Sec. 4: a new classifier on frozen features, four images of a class in
# its turn. As in their code batch norm follows the balanced batches.
init_from = dict(config='ce_resnet152_places', parts=['backbone'])
train_dataloader = dict(batch_size=256, sampler=dict(type='ClassAwareSampler'))
model = dict(frozen=['backbone'], frozen_bn='shift')
optim_wrapper = dict(optimizer=dict(lr=0.1))
auto_scale_lr = dict(base_batch_size=256)
