"""DisAlign: a learned correction of a trained classifier's scores."""

import torch
from torch import Tensor, nn

from ltcls.longtail import LongTailModule
from ltcls.registry import MODELS

from .cosine import CosineHead
from .linear import LinearHead


class Alignment(LongTailModule):
    """Corrects the logits of the head it is put before, which stays as it is.

    With z the logits, c = sigmoid(confidence(features)) in (0, 1) gates an affine map by class:

        logits = c * (scales * z + shifts) + (1 - c) * z.
    """

    def __init__(self, num_features: int, num_classes: int, **options):
        super().__init__(num_features, num_classes, **options)
        self.requires_grad_(False)
        self.scales = nn.Parameter(torch.ones(num_classes))
        self.shifts = nn.Parameter(torch.zeros(num_classes))
        self.confidence = nn.Linear(num_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C]."""
        logits = super().forward(features)
        confidence = self.confidence(features).sigmoid()
        return logits + confidence * ((self.scales - 1) * logits + self.shifts)


@MODELS.register_module()
class DisAlignHead(Alignment, LinearHead):
    """Adaptive calibration of a trained linear classifier: scale and shift a class, gated a sample.

    The scales start at 1 and the shifts at 0, which leaves the scores as they are. Weight and
    bias, from an earlier stage, are not trained. Weight decay would pull the scales to 0 rather
    than to 1.

    Zhang et al., Distribution Alignment: A Unified Framework for Long-tail Visual Recognition,
    CVPR 2021, Sec. 3.3; where Eq. 6 and the authors' code differ, as in the code. It is trained on
    plain samples with the classes weighted by (1 / prior) ** exponent:
    `DeferredReweightHook(begin=0, exponent=1.2)`.

    Args:
        num_features, num_classes, bias, init, bias_init: as in `LinearHead`.
    """


@MODELS.register_module()
class CosineDisAlignHead(Alignment, CosineHead):
    """`DisAlignHead` over a cosine classifier, for which the paper's exponent is 1.5.

    Args:
        num_features, num_classes, scale, init: as in `CosineHead`.
    """
