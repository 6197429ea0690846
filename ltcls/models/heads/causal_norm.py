"""De-confounded training, and the total direct effect at test time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltcls.longtail import LongTailModule
from ltcls.registry import MODELS


@MODELS.register_module()
class CausalNormHead(LongTailModule):
    """A normalised classifier in parts; in testing the features lose their mean direction.

    Features x and rows w_c are cut into `heads` parts of equal length. With u_h = x_h / ||x_h||
    and d_h the direction of the part's running mean,

        training: scale / heads * sum_h <u_h, w_ch> / (||w_ch|| + gamma)
        testing:  the same with u_h - alpha * cos(u_h, d_h) * d_h in the place of u_h.

    SGD's momentum drives features along one direction, which speaks for the head classes; what is
    left without it is the total direct effect (TDE). The running mean m <- momentum * m + mean of
    the batch's features starts at 0 and is part of the checkpoint; only its direction counts.

    Tang et al., Long-Tailed Classification by Keeping the Good and Removing the Bad Momentum Causal
    Effect, NeurIPS 2020, Eqs. 3 and 8; alpha is 1 for CIFAR-10, 1.5 for CIFAR-100 and 3 for the
    large sets, and can be chosen after training.

    Args:
        num_features: D, a multiple of `heads`.
        num_classes: C.
        heads: parts.
        scale: what the sums are multiplied by; margin losses read it as `logit_scale`.
        gamma: added to the length of a row's part.
        alpha: how much of the mean direction is taken out; 0 is the de-confounded classifier alone.
        momentum: of the running mean.

    Raises:
        ValueError: a value outside these.
    """

    running_feature: Tensor

    def __init__(self, num_features: int, num_classes: int, heads: int = 2, scale: float = 16.0,
                 gamma: float = 1 / 32, alpha: float = 0.0, momentum: float = 0.9):
        super().__init__()
        if heads < 1 or num_features % heads:
            raise ValueError(f'CausalNormHead got heads={heads} for {num_features} features; it '
                             'must divide them.')
        if scale <= 0 or gamma < 0 or not 0 <= momentum < 1:
            raise ValueError(f'CausalNormHead got scale={scale}, gamma={gamma}, momentum='
                             f'{momentum}; scale must be positive, gamma at least 0, momentum in '
                             '[0, 1).')
        self.heads, self.scale, self.gamma = heads, float(scale), gamma
        self.alpha, self.momentum = alpha, momentum
        self.weight = nn.Parameter(torch.empty(num_classes, num_features))
        self.register_buffer('running_feature', torch.zeros(num_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the rows anew, uniform within 1 / sqrt(D)."""
        bound = self.weight.size(1) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C]; in training mode the running mean moves."""
        parts = F.normalize(self._parts(features), dim=2)
        if self.training:
            with torch.no_grad():
                # Detached: otherwise a forward derivative would go into the buffer too.
                batch_mean = features.detach().mean(dim=0)
                self.running_feature.mul_(self.momentum).add_(batch_mean)
        elif self.alpha:
            directions = F.normalize(self._parts(self.running_feature[None]), dim=2)
            along = (parts * directions).sum(dim=2, keepdim=True)
            parts = parts - self.alpha * along * directions
        rows = self._parts(self.weight)
        rows = rows / (rows.norm(dim=2, keepdim=True) + self.gamma)
        return self.scale / self.heads * F.linear(parts.flatten(1), rows.flatten(1))

    def _parts(self, vectors: Tensor) -> Tensor:
        """[N, D] -> [N, heads, D / heads]."""
        return vectors.unflatten(1, (self.heads, -1))
