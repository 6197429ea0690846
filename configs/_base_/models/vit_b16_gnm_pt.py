# ViT-B/16 of ImageNet-21k, frozen, and the prompts of GNM-PT (Li et al., NeurIPS 2024, code).
model = dict(
    type='Classifier',
    backbone=dict(
        type='PromptedViT',
        name='vit_base_patch16_224.augreg_in21k',
        weights='timm',
        num_prompts=10,
        init='normal',
        pool='prompts',
        feature_dropout=0.1),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
