"""BBN: a network with a branch for the data as they are and one for the reversed classes."""

import torch
from torch import Tensor

from ltcls.longtail import Clock, LongTailModule
from ltcls.registry import MODELS

from ..backbones.cifar_resnet import BasicBlock, CIFARResNet, initialise
from ..heads.linear import LinearHead
from ..mixing import MixedLabels


def conventional_share(clock: Clock) -> float:
    """The weight 1 - (epoch / max_epochs) ** 2 of the conventional branch, 1 at the start.

    Zhou et al., CVPR 2020, Eq. 5, "parabolic decay".
    """
    return 1 - (clock.epoch / clock.max_epochs) ** 2


@MODELS.register_module()
class BilateralPairs(LongTailModule):
    """Makes pairs of a batch: an image for the conventional branch, one for the re-balancing.

    For `BilateralSampler`, whose images come in turns, and a backbone and head of two branches. The
    share of the first label is that of its branch, so that the loss is Eq. 3 of BBN.
    """

    def forward(self, batch: dict) -> dict:
        """`inputs` [2B, C, H, W] -> [B, 2, C, H, W]; `labels` [2B] -> MixedLabels of B pairs.

        Raises:
            ValueError: an odd number of images.
        """
        labels = batch['labels']
        if len(labels) % 2:
            raise ValueError(f'BilateralPairs got {len(labels)} images, which makes no pairs: use '
                             "train_dataloader.sampler.type='BilateralSampler' and an even "
                             'train_dataloader.batch_size.')
        share = labels.new_full((), conventional_share(self.clock), dtype=torch.float32)
        return dict(batch, inputs=batch['inputs'].unflatten(0, (-1, 2)),
                    labels=MixedLabels(labels[0::2], labels[1::2], share))


@MODELS.register_module()
class BilateralCIFARResNet(CIFARResNet):
    """A CIFAR ResNet whose last block exists twice: features of both, one after the other.

    In training the images come in pairs, and each branch sees its own image of a pair; batch norm
    normalises the two halves apart. In testing both branches see every image.

    Args:
        depth, in_channels: as in `CIFARResNet`.
    """

    num_features = 128

    def __init__(self, depth: int = 32, in_channels: int = 3):
        super().__init__(depth, in_channels)
        last = self.layer3[-1]
        self.conventional, self.layer3 = last, self.layer3[:-1]
        self.rebalancing = BasicBlock(last.conv1.in_channels, 64, last.stride)
        initialise(self.rebalancing)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W], or pairs [B, 2, C, H, W] -> features [B, 128]."""
        if x.dim() == 5:
            shared = self.maps(x[:, 0]), self.maps(x[:, 1])
        else:
            shared = (self.maps(x),) * 2
        branches = self.conventional(shared[0]), self.rebalancing(shared[1])
        return torch.cat([branch.mean(dim=(2, 3)) for branch in branches], dim=1)


@MODELS.register_module()
class BilateralHead(LinearHead):
    """One linear classifier over both branches, whose emphasis moves from the first to the second.

    In training the first half of the features is multiplied by twice the share of the conventional
    branch and the second by twice the rest; in testing by one.

    Zhou et al., BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual
    Recognition, CVPR 2020, Eq. 1; the factor 2 is that of the authors' code.

    Args:
        num_features, num_classes, bias, init, bias_init: as in `LinearHead`.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C]."""
        if self.training:
            share = conventional_share(self.clock)
            first, second = features.chunk(2, dim=1)
            features = torch.cat([2 * share * first, 2 * (1 - share) * second], dim=1)
        return super().forward(features)
