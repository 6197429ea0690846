"""VS: vector scaling of the logits."""

import torch.nn.functional as F
from torch import Tensor

from ltcls.longtail import class_prior
from ltcls.registry import LOSSES

from .base import LongTailLoss


@LOSSES.register_module()
class VSLoss(LongTailLoss):
    """Cross-entropy of logits / temperatures + tau * log prior.

    The temperature (n_max / n_c) ** gamma divides most for the rarest class. `gamma=0` is logit
    adjustment, `tau=0` the class-dependent temperature (CDT) loss. Test scores are plain logits.

    Kini et al., Label-Imbalanced and Group-Sensitive Classification under Overparameterization,
    NeurIPS 2021; defaults of the authors' code. A class without images counts as one image.

    Args:
        gamma: exponent of the temperatures, at least 0.
        tau: strength of the additive part.

    Raises:
        ValueError: a negative gamma.
    """

    def __init__(self, gamma: float = 0.3, tau: float = 1.0):
        super().__init__()
        if gamma < 0:
            raise ValueError(f'VSLoss got gamma={gamma}; use 0 or more, e.g. 0.3.')
        self.gamma = gamma
        self.tau = tau

    def bind(self, class_counts: Tensor) -> None:
        counts = class_counts.clamp(min=1)
        temperatures = (counts.max() / counts) ** self.gamma
        shifts = self.tau * class_prior(counts).log()
        self.register_buffer('temperatures', temperatures.float(), persistent=False)
        self.register_buffer('shifts', shifts.float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        adjusted = logits / self.temperatures + self.shifts
        return F.cross_entropy(adjusted, labels, reduction='none')
