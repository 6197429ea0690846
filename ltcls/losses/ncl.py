"""NCL: experts that learn from each other, over all classes and over the hard ones."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltcls.registry import LOSSES

from .base import LongTailLoss


@LOSSES.register_module()
class NCLLoss(LongTailLoss):
    """Balanced softmax and mutual distillation of all experts, twice: over all and hard classes.

    With z'_e the logits of expert e plus log n, and h_e the same with every class but the hard ones
    at 0, the loss of a sample is

        sum over u in (z', h) of sum_e CE(u_e, y)
            + factor / (E - 1) * sum_{i != j} KL(softmax(u_j) || softmax(u_i)).

    The hard classes of a sample are its label and those with the largest logits of the first
    expert.

    Li et al., Nested Collaborative Learning for Long-Tailed Visual Recognition, CVPR 2022,
    without the self-supervised term. As in the authors' code easy classes keep the logit 0 rather
    than leave the softmax, and gradients pass through both sides of the distillation.

    Args:
        hard_share: hard classes as a share of all; the label and at least one more.
        factor: of the distillation, at least 0.

    Raises:
        ValueError: a share outside (0, 1], a negative factor, or (in forward) a single expert.
    """

    takes_experts = True

    def __init__(self, hard_share: float = 0.3, factor: float = 0.6):
        super().__init__()
        if not 0 < hard_share <= 1 or factor < 0:
            raise ValueError(f'NCLLoss got hard_share={hard_share}, factor={factor}; the share '
                             'lies in (0, 1] and the factor is at least 0.')
        self.hard_share, self.factor = hard_share, factor

    def bind(self, class_counts: Tensor) -> None:
        logs = class_counts.clamp(min=1).log()
        self.register_buffer('log_counts', logs.float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits float32 [B, E, C], labels int64 [B] -> losses [B]."""
        if logits.size(1) < 2:
            raise ValueError('NCLLoss needs experts that learn from each other: set '
                             'model.backbone.experts and model.head.experts to 2 or more.')
        adjusted = logits + self.log_counts
        masked = adjusted * self.hard(logits, labels)[:, None]
        return self._nested(adjusted, labels) + self._nested(masked, labels)

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Which classes are hard, bool [B, C], of logits [B, E, C]."""
        classes = logits.size(2)
        number = min(max(int(self.hard_share * classes), 2), classes)
        first = logits[:, 0].detach().scatter(1, labels[:, None], torch.inf)
        chosen = first.topk(number, dim=1).indices
        return torch.zeros_like(first, dtype=torch.bool).scatter(1, chosen, True)

    def _nested(self, logits: Tensor, labels: Tensor) -> Tensor:
        experts = logits.size(1)
        logs = logits.log_softmax(dim=2)
        own = -logs.gather(2, labels[:, None, None].expand(-1, experts, 1)).sum(dim=(1, 2))
        # The pairs i = j add nothing.
        apart = F.kl_div(logs[:, :, None], logs[:, None], reduction='none', log_target=True)
        return own + self.factor / (experts - 1) * apart.sum(dim=(1, 2, 3))
