# A Vision Transformer for 32x32 images: 64 patches of 4x4, four blocks, in half precision.
model = dict(
    type='Classifier',
    precision='bfloat16',
    backbone=dict(
        type='TimmBackbone',
        name='vit_tiny_patch16_224',
        img_size=32,
        patch_size=4,
        embed_dim=96,
        depth=4,
        num_heads=3),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
