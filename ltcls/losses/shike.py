"""SHIKE: experts that excavate each other's knowledge of the classes that are not the label."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltcls.registry import LOSSES

from .base import LongTailLoss

SUPPRESSED = -30.0      # the logit of a class that is taken out of a softmax


@LOSSES.register_module()
class SHIKELoss(LongTailLoss):
    """Cross-entropy of every expert, mutual distillation, and a fused teacher of the other classes.

    With z_e the logits of expert e and C classes, the loss of a sample is

        sum_e [ CE(z_e, y) + factor / C * KL(softmax(r) || softmax(z_e without the label))
                + 1 / C * sum_{j != e} KL(softmax(z_j) || softmax(z_e)) ].

    The teacher r takes each class's largest logit of any expert; the hardest negative, the largest
    of the experts' mean logits beside the label, is held at that mean; the label is at 0.
    `without the label` puts its logit at -30.

    Jin et al., Long-Tailed Visual Recognition via Self-Heterogeneous Integration with Knowledge
    Excavation, CVPR 2023, in the form of the authors' code: divergences are averaged over
    the classes, and gradients pass through the teachers too.

    Args:
        factor: of the fused teacher, at least 0.

    Raises:
        ValueError: a negative factor.
    """

    takes_experts = True

    def __init__(self, factor: float = 10.0):
        super().__init__()
        if factor < 0:
            raise ValueError(f'SHIKELoss got factor={factor}; use 0 or more, e.g. 10.')
        self.factor = factor

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits float32 [B, E, C], labels int64 [B] -> losses [B]."""
        classes = logits.size(2)
        own = F.one_hot(labels, classes).bool()
        logs = logits.log_softmax(dim=2)
        label = labels[:, None, None].expand(-1, logits.size(1), 1)
        plain = -logs.gather(2, label).sum(dim=(1, 2))
        others = logits.masked_fill(own[:, None], SUPPRESSED).log_softmax(dim=2)
        teacher = self.teacher(logits, own).log_softmax(dim=1)[:, None]
        fused = F.kl_div(others, teacher.expand_as(others), reduction='none', log_target=True)
        # The pairs of an expert with itself add nothing.
        mutual = F.kl_div(logs[:, :, None], logs[:, None], reduction='none', log_target=True)
        return plain + (self.factor * fused.sum(dim=(1, 2)) + mutual.sum(dim=(1, 2, 3))) / classes

    @staticmethod
    def teacher(logits: Tensor, own: Tensor) -> Tensor:
        """r [B, C] of logits [B, E, C]; `own` [B, C] marks the labels."""
        mean = logits.mean(dim=1).masked_fill(own, SUPPRESSED)
        hardest = F.one_hot(mean.argmax(dim=1), mean.size(1)).bool()
        return torch.where(hardest, mean, logits.amax(dim=1)).masked_fill(own, 0.0)
