"""Logit adjustment in the loss, and balanced softmax."""

import torch.nn.functional as F
from torch import Tensor

from ltcls.longtail import class_prior
from ltcls.registry import LOSSES

from .base import LongTailLoss


@LOSSES.register_module()
class LogitAdjustedLoss(LongTailLoss):
    """Cross-entropy of logits + tau * log prior.

    The network learns what is left once the class frequencies are accounted for, so its plain
    logits are right for a test set with equally frequent classes: subtract nothing again at test
    time, and do not add class-balanced sampling, which would correct the prior twice.

    Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, Eq. 10. A class without
    images counts as one image; the log of its prior would be -inf.

    Args:
        tau: strength; 1 is consistent for the balanced error, 0 is cross-entropy.
    """

    def __init__(self, tau: float = 1.0):
        super().__init__()
        self.tau = tau

    def bind(self, class_counts: Tensor) -> None:
        shifts = self.tau * class_prior(class_counts.clamp(min=1)).log()
        self.register_buffer('shifts', shifts.float(), persistent=False)

    def adjusted(self, logits: Tensor) -> Tensor:
        """Logits [B, C] as the softmax of training takes them."""
        return logits + self.shifts

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.adjusted(logits), labels, reduction='none')


@LOSSES.register_module()
class BalancedSoftmaxLoss(LogitAdjustedLoss):
    """Cross-entropy with a softmax whose terms are weighted by the class counts.

    Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020:
    logits + log n, which differs from logit adjustment with tau = 1 by a constant that the
    softmax does not see.
    """

    def __init__(self):
        super().__init__(tau=1.0)
