# ViT-B/16 of ImageNet-21k, frozen, and AdaptFormer with 64 units (Chen et al., NeurIPS 2022).
model = dict(
    type='Classifier',
    backbone=dict(
        type='AdaptFormerViT',
        name='vit_base_patch16_224.augreg_in21k',
        weights='timm',
        width=64),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
