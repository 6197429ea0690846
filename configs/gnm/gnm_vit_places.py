_base_ = [
    '../_base_/datasets/places_lt_vit.py',
    '../_base_/models/vit_b16_gnm_pt.py',
    '../_base_/schedules/prompt_70e.py',
    '../_base_/default_runtime.py',
]

# GNM-PT (Li et al., NeurIPS 2024): clouded logits, Gaussian neighbourhood, weights at the end.
model = dict(
    head=dict(type='CosineHead', scale=25, init='normal'),
    loss=dict(type='GCLLoss', cloud_size=1.0, margin=0.1))
optim_wrapper = dict(type='GNM', rho=0.005, halve_at=60)
custom_hooks = [dict(type='DeferredReweightHook', begin=60, beta=0.9998)]
