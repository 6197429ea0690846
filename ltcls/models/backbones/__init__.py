from .cifar_resnet import CIFARResNet
from .timm import TimmBackbone
from .torchvision import TorchvisionBackbone

__all__ = ['CIFARResNet', 'TimmBackbone', 'TorchvisionBackbone']
