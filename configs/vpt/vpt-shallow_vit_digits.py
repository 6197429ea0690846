_base_ = './vpt_vit_digits.py'

# VPT-shallow (Jia et al., ECCV 2022, Eqs. 4-6).
model = dict(backbone=dict(prompts='shallow'))
