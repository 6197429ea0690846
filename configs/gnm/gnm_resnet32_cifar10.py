# What gnm_vit_* are on a prompted ViT, on ResNet-32: clouded logits, this gradient, late weights.
_base_ = './gcl-drw-gnm_resnet32_cifar10.py'
