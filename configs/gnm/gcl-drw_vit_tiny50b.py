_base_ = [
    '../_base_/datasets/tiny50b.py',
    '../_base_/models/vit_tiny50_gnm_pt.py',
    '../_base_/schedules/prompt_tiny50_10e.py',
    '../_base_/default_runtime.py',
]

# GNM-PT without its gradient (Li et al., NeurIPS 2024): clouded logits, class weights at the end.
model = dict(
    head=dict(type='CosineHead', scale=25, init='normal'),
    loss=dict(type='GCLLoss', cloud_size=1.0, margin=0.1))
custom_hooks = [dict(type='DeferredReweightHook', begin=8, beta=0.9998)]
