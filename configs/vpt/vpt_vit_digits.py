_base_ = [
    '../_base_/datasets/digits_lt_vit.py',
    '../_base_/models/vit_digits_prompts.py',
    '../_base_/schedules/prompt_digits_30e.py',
    '../_base_/default_runtime.py',
]

# VPT-deep (Jia et al., ECCV 2022) on what cross-entropy learned.
init_from = dict(config='pretrain_vit_digits.py', parts=['backbone'])
model = dict(head=dict(init='normal', bias_init=0.0))
