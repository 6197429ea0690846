# A Vision Transformer for the 8x8 digits: 16 patches, four blocks.
model = dict(
    type='Classifier',
    backbone=dict(
        type='TimmBackbone',
        name='vit_tiny_patch16_224',
        img_size=8,
        patch_size=2,
        in_chans=1,
        embed_dim=64,
        depth=4,
        num_heads=4),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
