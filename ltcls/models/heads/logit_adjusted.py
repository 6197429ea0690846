"""Logit adjustment after training."""

from torch import Tensor

from ltcls.longtail import LongTailModule, class_prior
from ltcls.registry import MODELS

from .cosine import CosineHead
from .linear import LinearHead


class PriorShift(LongTailModule):
    """Subtracts tau * log prior from the logits in eval mode; a head inherits from it first.

    In training mode the logits are the plain ones, so a head can also be trained as it stands.
    """

    tau: float = 1.0

    def bind(self, class_counts: Tensor) -> None:
        super().bind(class_counts)
        log_prior = class_prior(class_counts.clamp(min=1)).log()
        self.register_buffer('log_prior', log_prior.float(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C], adjusted in eval mode."""
        logits = super().forward(features)
        if self.training:
            return logits
        if not hasattr(self, 'log_prior'):
            raise RuntimeError(f'{type(self).__name__} was not told the class counts: call '
                               'bind(class_counts) before testing.')
        return logits - self.tau * self.log_prior


@MODELS.register_module()
class LogitAdjustedHead(PriorShift, LinearHead):
    """A linear head whose test logits are lowered by tau * log prior.

    Meant for a stage of zero epochs over a classifier trained with plain cross-entropy. A model
    trained with `LogitAdjustedLoss` or its kin is right without it.

    Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, Sec. 4.1. With tau = 1 and a
    balanced test set it is PC-Softmax (Hong et al., CVPR 2021). A class without images counts as
    one image; it would win every time otherwise.

    Args:
        tau: strength; 0 leaves the scores as they are.
        num_features, num_classes, bias, init, bias_init: as in `LinearHead`.
    """

    linear = True      # in training

    def __init__(self, num_features: int, num_classes: int, tau: float = 1.0, bias: bool = True,
                 init: str = 'kaiming', bias_init: float | str | None = None):
        super().__init__(num_features, num_classes, bias=bias, init=init, bias_init=bias_init)
        self.tau = tau


@MODELS.register_module()
class CosineLogitAdjustedHead(PriorShift, CosineHead):
    """A cosine head whose test logits, scale * cosines, are lowered by tau * log prior.

    See `LogitAdjustedHead`.

    Args:
        tau: strength; 0 leaves the scores as they are.
        num_features, num_classes, scale: as in `CosineHead`.
    """

    def __init__(self, num_features: int, num_classes: int, tau: float = 1.0, scale: float = 30.0):
        super().__init__(num_features, num_classes, scale=scale)
        self.tau = tau
