"""RIDE: experts that share the first groups of a residual network."""

from typing import Sequence

import torch
from torch import Tensor, nn

from ltcls.registry import MODELS

from ..backbones.cifar_resnet import CIFARResNet, initialise
from ..backbones.torchvision import TorchvisionBackbone


@MODELS.register_module()
class RIDECIFARResNet(CIFARResNet):
    """A CIFAR ResNet whose second and third group each expert has for itself, in fewer channels.

    Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021.

    Args:
        depth, in_channels: as in `CIFARResNet`.
        experts: E.
        channels: of the two groups; the authors take a quarter off the usual 32 and 64.
    """

    def __init__(self, depth: int = 32, in_channels: int = 3, experts: int = 3,
                 channels: Sequence[int] = (24, 48)):
        super().__init__(depth, in_channels)
        blocks, (second, third) = len(self.layer1), channels
        del self.layer2, self.layer3
        self.branches = nn.ModuleList(
            nn.Sequential(self._group(16, second, blocks, stride=2),
                          self._group(second, third, blocks, stride=2)) for _ in range(experts))
        initialise(self.branches)
        self.experts, self.num_features = experts, experts * third

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, in_channels, H, W] -> the experts' features, one after the other [B, E * D]."""
        shared = self.layer1(self.stem(x))
        return torch.cat([branch(shared).mean(dim=(2, 3)) for branch in self.branches], dim=1)


@MODELS.register_module()
class RIDEResNet(TorchvisionBackbone):
    """A ResNet or ResNeXt of torchvision whose last two groups each expert has for itself.

    Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021.

    Args:
        name: e.g. 'resnet50' or 'resnext50_32x4d'.
        experts: E.
        planes: of the two groups; the authors take a quarter off the usual 256 and 512.
        options: further arguments of torchvision's builder.

    Raises:
        ValueError: a model that is no ResNet of torchvision.
    """

    def __init__(self, name: str = 'resnet50', experts: int = 3,
                 planes: Sequence[int] = (192, 384), **options):
        super().__init__(name, **options)
        from torchvision.models import ResNet
        model = self.model
        if not isinstance(model, ResNet):
            raise ValueError(f"RIDEResNet got name='{name}', which has not the groups of a ResNet: "
                             "use e.g. 'resnet50'.")
        block, depths = type(model.layer3[0]), (len(model.layer3), len(model.layer4))
        entry = model.layer2[-1].bn3.num_features if hasattr(model.layer2[-1], 'bn3') else 128
        branches = []
        for _ in range(experts):
            model.inplanes = entry
            branches.append(nn.Sequential(*(
                model._make_layer(block, width, depth, stride=2)
                for width, depth in zip(planes, depths))))
        del model.layer3, model.layer4
        self.branches = nn.ModuleList(branches)
        for module in self.branches.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        self.experts, self.num_features = experts, experts * planes[1] * block.expansion

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> the experts' features, one after the other [B, E * D]."""
        model = self.model
        x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        shared = model.layer2(model.layer1(x))
        return torch.cat([branch(shared).mean(dim=(2, 3)) for branch in self.branches], dim=1)
