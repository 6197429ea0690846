"""Tau-normalisation of a trained classifier."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltcls.longtail import LongTailModule
from ltcls.registry import MODELS


@MODELS.register_module()
class TauNormHead(LongTailModule):
    """Logits weight_c @ x / ||weight_c|| ** tau: frequent classes lose the advantage of long rows.

    Nothing trains: weights come from an earlier stage, and the stage has zero epochs. Without the
    bias, `tau=0` is the trained classifier without its own, and `tau=1` ranks as a cosine head
    does. On the rows of a cosine head, too, this works on the plain product: the cosine itself
    would be the same for every tau.

    Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020,
    Sec. 4. They choose tau on a validation set; chosen on the test set it flatters the result.

    Args:
        num_features: D.
        num_classes: C.
        tau: exponent of the row norms, at least 0; usually between 0 and 1.
        bias: add the bias of the earlier stage as it is, as the code of Zhang et al., Bag of
            Tricks for Long-Tailed Visual Recognition with Deep Convolutional Neural Networks,
            AAAI 2021; Kang et al. drop it.

    Raises:
        ValueError: a negative tau.
    """

    scale: float = 1.0

    def __init__(self, num_features: int, num_classes: int, tau: float = 0.7,
                 bias: bool = False):
        super().__init__()
        if tau < 0:
            raise ValueError(f'TauNormHead got tau={tau}; use 0 or more, e.g. 0.7.')
        self.tau = tau
        weight = nn.init.kaiming_normal_(torch.empty(num_classes, num_features))
        self.weight = nn.Parameter(weight, requires_grad=False)
        kept = nn.Parameter(torch.zeros(num_classes), requires_grad=False) if bias else None
        self.register_parameter('bias', kept)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C]."""
        norms = torch.linalg.vector_norm(self.weight, dim=1, keepdim=True)
        rows = self.weight / norms.clamp(min=1e-12) ** self.tau
        return F.linear(features, rows, self.bias)
