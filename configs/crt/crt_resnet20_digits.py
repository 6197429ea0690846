_base_ = [
    '../_base_/datasets/digits_lt.py',
    '../_base_/models/resnet20_grey.py',
    '../_base_/schedules/retrain_digits_20e.py',
    '../_base_/default_runtime.py',
]

# Kang et al., ICLR 2020, Sec. 4: a new classifier on frozen features, class-balanced samples.
init_from = dict(config='ce_resnet20_digits', parts=['backbone'])
train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
model = dict(frozen=['backbone'])
