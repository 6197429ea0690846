"""The small residual networks of CIFAR experiments."""

import torch.nn.functional as F
from torch import Tensor, nn

from ltcls.registry import MODELS


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A)."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - in_channels

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and not self.new_channels:
            return x
        half = self.new_channels // 2
        return F.pad(x[:, :, ::self.stride, ::self.stride],
                     (0, 0, 0, 0, half, self.new_channels - half))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x), inplace=True)


def initialise(part: nn.Module) -> None:
    """Draw the convolutions of a part from Kaiming-normal values."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)


@MODELS.register_module()
class CIFARResNet(nn.Module):
    """ResNet-20, 32, 44 or 56 for small images.

    A 3x3 stem, three groups of (depth - 2) / 6 basic blocks with 16, 32 and 64 channels, shortcuts
    by subsampling and zero channels (option A), global average pooling. Convolutions start from
    Kaiming-normal values, as in the long-tail papers' CIFAR code.

    He et al., Deep Residual Learning for Image Recognition, CVPR 2016, Sec. 4.2.

    Args:
        depth: 6 n + 2: 20, 32, 44, 56, ...
        in_channels: colour channels of the images.

    Raises:
        ValueError: a depth that is not 6 n + 2.
    """

    num_features = 64

    def __init__(self, depth: int = 32, in_channels: int = 3):
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f'CIFARResNet depth={depth} must be 6 n + 2: 20, 32, 44 or 56.')
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._group(16, 16, blocks, stride=1)
        self.layer2 = self._group(16, 32, blocks, stride=2)
        self.layer3 = self._group(32, 64, blocks, stride=2)
        initialise(self)

    @staticmethod
    def _group(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = BasicBlock(in_channels, channels, stride)
        return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, in_channels, H, W] -> features [B, 64]."""
        return self.maps(x).mean(dim=(2, 3))

    def maps(self, x: Tensor) -> Tensor:
        """Images [B, in_channels, H, W] -> the feature maps of the last group."""
        return self.layer3(self.layer2(self.layer1(self.stem(x))))

    def stem(self, x: Tensor) -> Tensor:
        """Images [B, in_channels, H, W] -> what the first group is given."""
        return F.relu(self.bn1(self.conv1(x)), inplace=True)
