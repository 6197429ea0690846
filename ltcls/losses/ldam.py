"""LDAM: label-distribution-aware margins."""

import torch.nn.functional as F
from torch import Tensor

from ltcls.registry import LOSSES

from .base import LongTailLoss


@LOSSES.register_module()
class LDAMLoss(LongTailLoss):
    """Label-distribution-aware margins.

    The label's logit is lowered by a margin that grows as its class gets rarer,
    margin_c = max_margin * (n_min / n_c) ** (1/4), which moves the boundary away from the tail.
    Made for a cosine head; test scores carry no margin.

    Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss,
    NeurIPS 2019, Eqs. 12-13. As in the authors' code the largest margin is fixed, not the
    constant C.

    n_min is the count of the rarest class that has images; a class without any gets its margin.

    Args:
        max_margin: margin of the rarest class, in cosine units.

    Raises:
        ValueError: a negative margin.
    """

    def __init__(self, max_margin: float = 0.5):
        super().__init__()
        if max_margin < 0:
            raise ValueError(f'LDAMLoss got max_margin={max_margin}; use 0 or more, e.g. 0.5.')
        self.max_margin = max_margin

    def bind(self, class_counts: Tensor) -> None:
        rarest = class_counts[class_counts > 0].min()
        margins = self.max_margin * (class_counts.clamp(min=rarest) / rarest) ** -0.25
        self.register_buffer('margins', margins.float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        margins = self.logit_scale * self.margins[labels]
        lowered = logits - margins[:, None] * F.one_hot(labels, logits.size(1))
        return F.cross_entropy(lowered, labels, reduction='none')
