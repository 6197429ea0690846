# The same, frozen, and the prompts of GNM-PT (Li et al., NeurIPS 2024).
model = dict(
    type='Classifier',
    precision='bfloat16',
    backbone=dict(
        type='PromptedViT',
        name='vit_tiny_patch16_224',
        weights='work_dirs/pretrain_vit_tiny50a/epoch_15.pth',
        img_size=32,
        patch_size=4,
        embed_dim=96,
        depth=4,
        num_heads=3,
        num_prompts=10,
        init='normal',
        pool='prompts',
        feature_dropout=0.1),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
