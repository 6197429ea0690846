# The same, frozen, with four prompts a block.
model = dict(
    type='Classifier',
    backbone=dict(
        type='PromptedViT',
        name='vit_tiny_patch16_224',
        img_size=8,
        patch_size=2,
        in_chans=1,
        embed_dim=64,
        depth=4,
        num_heads=4,
        num_prompts=4),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
