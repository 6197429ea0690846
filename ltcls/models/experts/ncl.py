"""NCL: whole networks as experts."""

import torch
from torch import Tensor, nn

from ltcls.registry import MODELS


@MODELS.register_module()
class IndependentExperts(nn.Module):
    """Networks of one kind that share nothing but the images.

    Li et al., Nested Collaborative Learning for Long-Tailed Visual Recognition, CVPR 2022.

    Args:
        network: the kind, a backbone by name.
        experts: E; each starts from a draw of its own, or all from the same pretrained weights.
        options: arguments of the kind.
    """

    def __init__(self, network: str, experts: int = 3, **options):
        super().__init__()
        self.networks = nn.ModuleList(
            MODELS.build(dict(options, type=network)) for _ in range(experts))
        self.experts = experts
        self.num_features = experts * self.networks[0].num_features

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, ...] -> the networks' features, one after the other [B, E * D]."""
        return torch.cat([network(x) for network in self.networks], dim=1)
