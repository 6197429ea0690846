import torch
from torch import Tensor
from torch.nn import functional as F

from ltcls.losses.base import LongTailLoss
from ltcls.registry import LOSSES


@LOSSES.register_module()
class Poly1Loss(LongTailLoss):
    """Cross-entropy with a different first coefficient: -log p + epsilon * (1 - p), p of the label.

    Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions,
    ICLR 2022, Eq. 6.

    Args:
        epsilon: 0 is cross-entropy; positive values push confident samples further.
    """

    def __init__(self, epsilon: float = 1.0):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, labels, reduction='none')
        return losses + self.epsilon * (1 - torch.exp(-losses))
