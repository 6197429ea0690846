"""SHIKE: experts that fuse maps of an early group with a last group of their own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltcls.registry import MODELS

from ..backbones.cifar_resnet import CIFARResNet, initialise


class Alignment(nn.Module):
    """Shallow maps brought to the size of the last group's, a halving convolution at a time.

    ReLU follows the first convolution alone.
    """

    def __init__(self, channels: int):
        super().__init__()
        widths = [channels]
        while widths[-1] < 64:
            widths.append(2 * widths[-1])
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                          nn.BatchNorm2d(after))
            for before, after in zip(widths, widths[1:]))

    def forward(self, maps: Tensor) -> Tensor:
        first, *later = self.steps
        maps = F.relu(first(maps), inplace=True)
        for step in later:
            maps = step(maps)
        return maps


@MODELS.register_module()
class SHIKECIFARResNet(CIFARResNet):
    """A CIFAR ResNet whose experts multiply a last group of their own with maps of an early one.

    The experts take the maps of the first and of the second group in turns.

    Jin et al., Long-Tailed Visual Recognition via Self-Heterogeneous Integration with Knowledge
    Excavation, CVPR 2023.

    Args:
        depth, in_channels: as in `CIFARResNet`.
        experts: E.
    """

    def __init__(self, depth: int = 32, in_channels: int = 3, experts: int = 3):
        super().__init__(depth, in_channels)
        blocks = len(self.layer3)
        del self.layer3
        self.branches = nn.ModuleList(
            self._group(32, 64, blocks, stride=2) for _ in range(experts))
        self.alignments = nn.ModuleList(
            Alignment(16 if index % 2 == 0 else 32) for index in range(experts))
        initialise(self.branches)
        initialise(self.alignments)
        self.experts, self.num_features = experts, 64 * experts

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, in_channels, H, W] -> the experts' features, one after the other [B, E * 64]."""
        first = self.layer1(self.stem(x))
        second = self.layer2(first)
        features = []
        for index, (branch, align) in enumerate(zip(self.branches, self.alignments)):
            shallow = align(first if index % 2 == 0 else second)
            features.append((branch(second) * shallow).mean(dim=(2, 3)))
        return torch.cat(features, dim=1)
