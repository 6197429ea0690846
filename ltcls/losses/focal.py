"""Focal loss, in its softmax and its sigmoid form."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltcls.registry import LOSSES

from .base import LongTailLoss

FORMS = ('softmax', 'sigmoid')


@LOSSES.register_module()
class FocalLoss(LongTailLoss):
    """Cross-entropy times (1 - p) ** gamma: samples the model already gets right count less.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, Sec. 3. The softmax form, with p
    the probability of the label, is the one of most long-tailed code. The sigmoid form sums over
    one two-way problem a class, as Cui et al. (CVPR 2019) do; its head wants
    `LinearHead(bias_init='prior')` and no weight decay on the bias, or the loss starts at
    C log 2. `gamma=0` is cross-entropy, respectively the summed binary cross-entropy.

    Class weights multiply the whole loss of a sample, from outside; p stays a probability.

    Args:
        gamma: exponent, at least 0.
        form: 'softmax' or 'sigmoid'.
        detach_factor: take the factor (1 - p) ** gamma as a constant in the gradient.

    Raises:
        ValueError: a negative gamma or an unknown form.
    """

    def __init__(self, gamma: float = 1.0, form: str = 'softmax', detach_factor: bool = False):
        super().__init__()
        if gamma < 0:
            raise ValueError(f'FocalLoss got gamma={gamma}; use 0 (cross-entropy) or more, e.g. 1.')
        if form not in FORMS:
            raise ValueError(f"FocalLoss got form='{form}'; use 'softmax' or 'sigmoid'.")
        self.gamma = gamma
        self.form = form
        self.detach_factor = detach_factor

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.form == 'softmax':
            losses = F.cross_entropy(logits, labels, reduction='none')
            # Below gamma = 1 the power has an infinite slope at 0, which a saturated sample hits.
            misses = (-torch.expm1(-losses)).clamp(min=torch.finfo(losses.dtype).tiny)
            return self._factor(misses ** self.gamma) * losses
        signs = 2 * F.one_hot(labels, logits.size(1)) - 1
        evidence = signs * logits
        # sigmoid(-evidence) ** gamma, written so that neither value nor gradient can underflow
        factor = torch.exp(-self.gamma * F.softplus(evidence))
        return (self._factor(factor) * F.softplus(-evidence)).sum(dim=1)

    def _factor(self, factor: Tensor) -> Tensor:
        return factor.detach() if self.detach_factor else factor
