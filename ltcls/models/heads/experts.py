"""One classifier for each expert of a network."""

import torch
from torch import Tensor, nn

from ltcls.longtail import LongTailModule
from ltcls.registry import MODELS


@MODELS.register_module()
class ExpertHead(LongTailModule):
    """A head of its own for each expert, on that expert's share of the features.

    For a backbone with `experts`, whose features are those of its experts one after the other.
    Scores are the softmax of the experts' mean logits; a loss that is not one of experts is the sum
    of the losses of each.

    Args:
        num_features: all the experts' features together.
        num_classes: C.
        expert: the head of one expert by name, e.g. dict(type='CosineHead').
        experts: E, as many as the backbone has.

    Raises:
        ValueError: features that E experts cannot share evenly.
    """

    def __init__(self, num_features: int, num_classes: int, expert: dict, experts: int = 3):
        super().__init__()
        if experts < 1 or num_features % experts:
            raise ValueError(f'ExpertHead cannot share {num_features} features among {experts} '
                             'experts: set experts to the number that the backbone has.')
        self.backbone_experts = experts     # what the classifier holds the backbone to
        self.heads = nn.ModuleList(
            MODELS.build(dict(expert, num_features=num_features // experts,
                              num_classes=num_classes)) for _ in range(experts))
        self.scale = self.heads[0].scale

    def reset_parameters(self) -> None:
        """Draw every expert's classifier anew."""
        for head in self.heads:
            head.reset_parameters()

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, E * D] -> logits [B, E, C]."""
        parts = features.chunk(self.backbone_experts, dim=1)
        return torch.stack([head(part) for head, part in zip(self.heads, parts)], dim=1)
