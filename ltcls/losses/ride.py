"""RIDE: a margin loss for each expert, and a term that sets experts apart."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltcls.longtail import class_prior, effective_number_weights
from ltcls.registry import LOSSES

from .ldam import LDAMLoss


@LOSSES.register_module()
class RIDELoss(LDAMLoss):
    """The LDAM loss of each expert, less its distance from the experts' mean.

    With z_e the logits of expert e and z their mean over the experts (constant in the gradient),

        loss = sum_e [ w_y LDAM(z_e, y) - diversity * T^2 KL(softmax(z / t) || softmax(z_e / t)) ].

    Up to `begin` epochs w, t and T are 1. From then on w are the effective-number weights of the
    classes, divided by their mean over the samples that the loss is given, and the temperature
    t_c = d_c / max d of class c, d_c = C prior_c r + 1 - r, lets experts differ more on rare
    classes; T is the mean of t. The weights are the loss's own because the second term has none;
    with `DeferredReweightHook` both would be weighted.

    Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021,
    in the form of the authors' code.

    Args:
        diversity: factor of the second term, by which experts that differ are rewarded; at least
            0. It is -lambda of the paper.
        begin: finished epochs from which on classes are weighted; None for never.
        spread: r, how much the temperature depends on the class, in [0, 1].
        beta: of the effective-number weights, in [0, 1).
        max_margin: as in `LDAMLoss`.

    Raises:
        ValueError: a factor, spread, beta or margin outside its range.
    """

    takes_experts = True

    def __init__(self, diversity: float = 0.2, begin: int | None = None, spread: float = 0.05,
                 beta: float = 0.9999, max_margin: float = 0.5):
        super().__init__(max_margin)
        if diversity < 0 or not 0 <= spread <= 1 or not 0 <= beta < 1:
            raise ValueError(f'RIDELoss got diversity={diversity}, spread={spread}, beta={beta}; '
                             'diversity is at least 0, spread lies in [0, 1] and beta in [0, 1).')
        self.diversity, self.begin, self.spread, self.beta = diversity, begin, spread, beta

    def bind(self, class_counts: Tensor) -> None:
        super().bind(class_counts)
        weights = effective_number_weights(class_counts, self.beta)
        density = len(class_counts) * class_prior(class_counts) * self.spread + 1 - self.spread
        self.register_buffer('weights', weights.float(), persistent=False)
        self.register_buffer('temperatures', (density / density.max()).float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits float32 [B, E, C], labels int64 [B] -> losses [B]."""
        late = self.begin is not None and self.clock.epoch >= self.begin
        experts = logits.size(1)
        own = super().forward(logits.flatten(0, 1), labels.repeat_interleave(experts))
        own = own.unflatten(0, (-1, experts)).sum(dim=1)
        if late:
            weights = self.weights[labels]
            own = own * weights / weights.mean()
        temperatures = self.temperatures if late else torch.ones_like(self.temperatures)
        scaled = (logits / temperatures).log_softmax(dim=2)
        mean = (logits.detach().mean(dim=1, keepdim=True) / temperatures).log_softmax(dim=2)
        apart = F.kl_div(scaled, mean.expand_as(scaled), reduction='none', log_target=True)
        return own - self.diversity * temperatures.mean().square() * apart.sum(dim=(1, 2))
