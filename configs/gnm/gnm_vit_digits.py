_base_ = [
    '../_base_/datasets/digits_lt_vit.py',
    '../_base_/models/vit_digits_prompts.py',
    '../_base_/schedules/prompt_digits_30e.py',
    '../_base_/default_runtime.py',
]

# GNM-PT (Li et al., NeurIPS 2024) on what cross-entropy learned.
init_from = dict(config='../vpt/pretrain_vit_digits.py', parts=['backbone'])
model = dict(
    backbone=dict(init='normal', pool='prompts', feature_dropout=0.1),
    head=dict(type='CosineHead', scale=25, init='normal'),
    loss=dict(type='GCLLoss', cloud_size=1.0, margin=0.1))
optim_wrapper = dict(type='GNM', rho=0.005, halve_at=25)
custom_hooks = [dict(type='DeferredReweightHook', begin=25, beta=0.9998)]
