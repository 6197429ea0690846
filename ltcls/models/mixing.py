"""Mixing of images: each image with another of the batch, the loss with both labels."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ltcls.registry import MODELS


class MixedLabels(NamedTuple):
    """Labels of mixed images: `share` of `first` and 1 - share of `second`, each int64 [B]."""

    first: Tensor
    second: Tensor
    share: Tensor


class _Mixing(nn.Module):
    """Base of the mixers, which are torchvision's; one share a batch.

    torchvision mixes every image with its neighbour and returns soft labels. The batch is shuffled
    before, so the partners are random also where a sampler emits runs of one class.
    """

    def __init__(self, alpha: float = 1.0):
        super().__init__()
        if alpha <= 0:
            raise ValueError(f'{type(self).__name__} got alpha={alpha}; it must be positive.')
        self.alpha = alpha

    def transform(self, batch_size: int) -> nn.Module:
        raise NotImplementedError

    def forward(self, batch: dict) -> dict:
        """Mix `inputs` [B, 3, H, W]; `labels` become MixedLabels.

        Raises:
            ValueError: a batch that carries sample weights, which belong to unmixed images.
        """
        if 'weights' in batch:
            raise ValueError('This batch has sample weights, which belong to unmixed images: '
                             'set data_preprocessor.mixing=None.')
        size, device = len(batch['labels']), batch['labels'].device
        order = torch.randperm(size, device=device)      # the host does not wait for a copy
        labels = batch['labels'][order]
        # Soft labels over the positions of the batch instead of classes tell share and partner.
        inputs, shares = self.transform(size)(
            batch['inputs'][order], torch.arange(size, device=device))
        share = shares[0, 0]
        return dict(batch, inputs=inputs, labels=MixedLabels(labels, labels.roll(1), share))


@MODELS.register_module()
class Mixup(_Mixing):
    """x = share * x_i + (1 - share) * x_j, share from Beta(alpha, alpha), one a batch.

    Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, Eq. 1.
    """

    def transform(self, batch_size: int) -> nn.Module:
        from torchvision.transforms import v2
        return v2.MixUp(alpha=self.alpha, num_classes=batch_size)


@MODELS.register_module()
class CutMix(_Mixing):
    """A rectangle of x_j replaces that part of x_i; share is the area that x_i keeps.

    Yun et al., CutMix, ICCV 2019, Eqs. 1-2; the share is that of the clipped rectangle.
    """

    def transform(self, batch_size: int) -> nn.Module:
        from torchvision.transforms import v2
        return v2.CutMix(alpha=self.alpha, num_classes=batch_size)
