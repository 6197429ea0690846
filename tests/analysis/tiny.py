"""A network small enough for its whole Hessian, and images for it."""

import torch
from torch import nn

COUNTS = (30, 8, 2)


class TinyNetwork(nn.Module):
    """Two smooth layers in float64, with the interface that the analyses use."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Softplus(), nn.Flatten())
        self.head = nn.Linear(8, 3)
        self.double()

    def data_preprocessor(self, data, training):
        assert not training
        return dict(data, inputs=data['inputs'].double() / 255)

    def forward(self, inputs):
        return self.head(self.backbone(inputs))


def images(count=13, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(256, (count, 1, 3, 3), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2])[:count]
    return inputs, labels
