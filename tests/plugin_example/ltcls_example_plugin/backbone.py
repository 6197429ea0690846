from torch import Tensor, nn

from ltcls.registry import MODELS


@MODELS.register_module()
class TinyConvNet(nn.Module):
    """Three strided convolutions and an average: images [B, in_channels, H, W] to [B, 4 * width].

    Args:
        width: channels of the first layer; the next two have 2 and 4 times as many.
        in_channels: 3 for colour, 1 for grey images.
    """

    def __init__(self, width: int = 16, in_channels: int = 3):
        super().__init__()
        self.num_features = 4 * width
        layers, channels = [], in_channels
        for out in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(channels, out, kernel_size=3, stride=2, padding=1, bias=False),
                       nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs).mean(dim=(2, 3))
