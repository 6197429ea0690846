from .adapters import AdaptFormerViT, LoRAViT
from .cifar_resnet import CIFARResNet
from .timm import TimmBackbone
from .torchvision import TorchvisionBackbone
from .vit import FrozenViT, PromptedViT

__all__ = ['AdaptFormerViT', 'CIFARResNet', 'FrozenViT', 'LoRAViT', 'PromptedViT', 'TimmBackbone',
           'TorchvisionBackbone']
