_base_ = [
    '../_base_/datasets/inat2018_vit.py',
    '../_base_/models/vit_b16_vpt.py',
    '../_base_/schedules/prompt_70e.py',
    '../_base_/default_runtime.py',
]

# VPT-deep (Jia et al., ECCV 2022).
model = dict(head=dict(init='normal', bias_init=0.0))
