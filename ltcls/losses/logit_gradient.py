"""Cross-entropy with a penalty on its gradient, a stand-in for BGP."""

import torch.nn.functional as F
from torch import Tensor

from ltcls.registry import LOSSES

from .base import LongTailLoss


@LOSSES.register_module()
class LogitGradientPenalty(LongTailLoss):
    """Cross-entropy plus strength * ||p - onehot(y)|| ** 2, p the softmax of the logits.

    p - onehot(y) is the gradient of cross-entropy in the logits; the penalty is at most 2 and is
    differentiated through p. Balanced, the batch mean of the penalties is a mean over the classes
    in the batch of the class means: a sample of class c has its penalty times B / (K * n_c), with
    n_c samples of the class and K classes in the batch. No class counts are needed.

    A reconstruction from the abstract of Wang et al., Balanced Gradient Penalty Improves Deep
    Long-Tailed Learning (BGP), ACM MM 2022: a loss that penalises a gradient's norm in a balanced
    way, without class counts and without further passes. The paper's own formula and its lambda
    were not at hand, so no result of this loss is one of BGP.

    K and n_c are those of the labels at hand: of one rank, of one micro-batch, of one of the two
    labels under mixup. An optim wrapper that asks for a batch class by class (CC-SAM without its
    closed form) gets the penalties of single classes, which are not weighted.

    Args:
        strength: factor of the penalty, at least 0; 0 is cross-entropy.
        balanced: average the penalties by class, not over the samples.

    Raises:
        ValueError: a negative strength.
    """

    def __init__(self, strength: float = 1.0, balanced: bool = True):
        super().__init__()
        if strength < 0:
            raise ValueError(f'LogitGradientPenalty got strength={strength}; '
                             'use 0 (cross-entropy) or more, e.g. 1.')
        self.strength = strength
        self.balanced = balanced

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits float32 [B, C], labels int64 [B] -> losses [B]."""
        gradients = logits.softmax(dim=1) - F.one_hot(labels, logits.size(1))
        penalties = gradients.square().sum(dim=1)
        if self.balanced:
            shares = 1 / (labels[:, None] == labels).sum(dim=1).to(penalties.dtype)
            # The shares of a class add up to 1, so their mean is K / B.
            penalties = penalties * shares / shares.mean()
        return F.cross_entropy(logits, labels, reduction='none') + self.strength * penalties
