# ViT-B/16 of ImageNet-21k, frozen, and ten prompts a block (Jia et al., ECCV 2022, VPT-deep).
model = dict(
    type='Classifier',
    backbone=dict(
        type='PromptedViT',
        name='vit_base_patch16_224.augreg_in21k',
        weights='timm',
        num_prompts=10),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
