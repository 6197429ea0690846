# ViT-B/16 of ImageNet-21k, frozen, and LoRA of rank 8 on queries and values (Hu et al., ICLR 2022).
model = dict(
    type='Classifier',
    backbone=dict(
        type='LoRAViT',
        name='vit_base_patch16_224.augreg_in21k',
        weights='timm',
        rank=8),
    head=dict(type='LinearHead'),
    loss=dict(type='CrossEntropyLoss'))
