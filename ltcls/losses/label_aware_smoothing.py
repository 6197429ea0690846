"""Label-aware smoothing, the classifier loss of MiSLAS."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ltcls.registry import LOSSES

from .base import LongTailLoss

SHAPES = ('concave', 'linear', 'convex', 'exponent')


@LOSSES.register_module()
class LabelAwareSmoothingLoss(LongTailLoss):
    """Label smoothing that is stronger for frequent classes, which the network is surest about.

    The smoothing of class c runs from `tail` at the rarest class to `head` at the most frequent
    one, along r = (n_c - n_min) / (n_max - n_min); with equal counts every class gets `head`.

    Zhong et al., Improving Calibration for Long-Tailed Recognition, CVPR 2021, Sec. 3.2. The
    authors' code spreads the smoothing over all C classes, the paper over the C - 1 others; the
    default follows the code, which made the published numbers.

    Args:
        head: smoothing of the most frequent class, in [0, 1].
        tail: smoothing of the rarest class, in [0, 1].
        shape: 'concave' (the published choice), 'linear', 'convex', or 'exponent' for r ** power.
        power: exponent, above 0; for shape='exponent' only.
        form: 'code' or 'paper'.

    Raises:
        ValueError: a value outside these, or a power where none belongs.
    """

    def __init__(self, head: float = 0.3, tail: float = 0.0, shape: str = 'concave',
                 power: float | None = None, form: str = 'code'):
        super().__init__()
        if not (0 <= head <= 1 and 0 <= tail <= 1):
            raise ValueError(f'LabelAwareSmoothingLoss got head={head}, tail={tail}; '
                             'both are shares in [0, 1], e.g. 0.3 and 0.')
        if shape not in SHAPES:
            raise ValueError(f"LabelAwareSmoothingLoss got shape='{shape}'; use one of {SHAPES}.")
        if (shape == 'exponent') != (power is not None) or (power is not None and power <= 0):
            raise ValueError(f"LabelAwareSmoothingLoss got shape='{shape}', power={power}; "
                             "shape='exponent' needs a power above 0, the other shapes take none.")
        if form not in ('code', 'paper'):
            raise ValueError(f"LabelAwareSmoothingLoss got form='{form}'; use 'code' or 'paper'.")
        self.head = head
        self.tail = tail
        self.shape = shape
        self.power = power
        self.form = form

    def bind(self, class_counts: Tensor) -> None:
        smallest, largest = class_counts.min(), class_counts.max()
        if largest > smallest:
            ranks = (class_counts - smallest) / (largest - smallest)
        else:
            ranks = torch.ones_like(class_counts)
        if self.shape == 'concave':
            ranks = torch.sin(math.pi / 2 * ranks)
        elif self.shape == 'convex':
            ranks = 1 + torch.sin(math.pi / 2 * (3 + ranks))
        elif self.shape == 'exponent':
            ranks = ranks ** self.power
        smoothing = self.tail + (self.head - self.tail) * ranks
        self.register_buffer('smoothing', smoothing.float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        surprises = -F.log_softmax(logits, dim=1)
        of_label = surprises.gather(1, labels[:, None])[:, 0]
        if self.form == 'code':
            spread = surprises.mean(dim=1)
        else:
            spread = (surprises.sum(dim=1) - of_label) / (logits.size(1) - 1)
        smoothing = self.smoothing[labels]
        return (1 - smoothing) * of_label + smoothing * spread
