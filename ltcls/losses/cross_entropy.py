"""Softmax cross-entropy."""

import torch.nn.functional as F
from torch import Tensor

from ltcls.registry import LOSSES

from .base import LongTailLoss


@LOSSES.register_module()
class CrossEntropyLoss(LongTailLoss):
    """The negative log-probability of the label, -log softmax(logits)[label]."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction='none')
