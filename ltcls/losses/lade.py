"""LADE: logits that are free of the training prior, by a regularised bound."""

import math

import torch.nn.functional as F
from torch import Tensor

from ltcls.longtail import class_prior
from ltcls.registry import LOSSES

from .base import LongTailLoss


@LOSSES.register_module()
class LADELoss(LongTailLoss):
    """Balanced softmax plus alpha * R, the same number for every sample of the batch.

    R = sum_c pi_c r_c pulls each logit to the log density ratio of its class, so that the logits
    can be matched to the class frequencies of any test set; equal ones need nothing:

        r_c = -mean of z_ic over the samples i of class c + s_c + lam * s_c ** 2,
        s_c = log mean over all samples i of v_ic * exp(z_ic).

    A class that is not in the batch has no first term. pi is the prior of the training set; a class
    without images counts as one image.

    Hong et al., Disentangling Label Distribution for Long-tailed Visual Recognition, CVPR 2021,
    Eqs. 5-9. v_ic is 1 / (C pi_c) in the authors' code and 1 / (C pi_y), y the label of sample i,
    in the paper.

    R couples the samples that the loss is given: those of one rank, of one micro-batch, of one of
    the two labels under mixup, of one class where an optim wrapper asks class by class. Class
    weights multiply it like the rest of a sample's loss.

    Args:
        lam: of the squares, which keep s_c near 0; at least 0.
        alpha: factor of R, at least 0; 0 is balanced softmax.
        weight: 'column' for the v of the code, 'label' for that of the paper.

    Raises:
        ValueError: a value outside these.
    """

    def __init__(self, lam: float = 0.01, alpha: float = 0.1, weight: str = 'column'):
        super().__init__()
        if lam < 0 or alpha < 0:
            raise ValueError(f'LADELoss got lam={lam}, alpha={alpha}; both must be at least 0.')
        if weight not in ('column', 'label'):
            raise ValueError(f"LADELoss got weight='{weight}'; use 'column' or 'label'.")
        self.lam, self.alpha, self.weight = lam, alpha, weight

    def bind(self, class_counts: Tensor) -> None:
        prior = class_prior(class_counts.clamp(min=1))
        self.register_buffer('prior', prior.float(), persistent=False)
        self.register_buffer('log_prior', prior.log().float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits float32 [B, C], labels int64 [B] -> losses [B]."""
        losses = F.cross_entropy(logits + self.log_prior, labels, reduction='none')
        return losses + self.alpha * self.regulariser(logits, labels)

    def regulariser(self, logits: Tensor, labels: Tensor) -> Tensor:
        """R [] of logits [B, C] and labels [B]."""
        batch, classes = logits.shape
        log_prior = self.log_prior if self.weight == 'column' else self.log_prior[labels][:, None]
        bounds = (logits - log_prior).logsumexp(dim=0) - math.log(batch * classes)
        own = logits.gather(1, labels[:, None])[:, 0]
        members = (labels[:, None] == labels).sum(dim=1)
        return ((self.prior * (bounds + self.lam * bounds.square())).sum()
                - (self.prior[labels] * own / members).sum())
