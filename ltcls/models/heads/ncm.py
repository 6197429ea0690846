"""NCM: the nearest class mean."""

import warnings
from typing import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from ltcls.longtail import LongTailModule
from ltcls.registry import MODELS


@MODELS.register_module()
class NCMHead(LongTailModule):
    """Logits are minus the squared distances to the class means of the training features.

    Nothing trains: `fit` (called by `ClassMeanHook`) fills the buffers `center` [D] and
    `prototypes` [C, D], which are part of the checkpoint. A class without training images has
    NaN for a prototype and is never predicted.

    Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020,
    Sec. 4; as in the authors' code the class means of normalised features are not normalised again.

    Args:
        num_features: D.
        num_classes: C.
        normalise: 'cl2n' subtracts the mean of all training features, then scales each feature to
            unit length; 'l2' only scales; 'none' does neither.

    Raises:
        ValueError: an unknown normalisation.
    """

    scale: float = 1.0

    def __init__(self, num_features: int, num_classes: int, normalise: str = 'cl2n'):
        super().__init__()
        if normalise not in ('cl2n', 'l2', 'none'):
            raise ValueError(f"NCMHead got normalise='{normalise}'; use 'cl2n', 'l2' or 'none'.")
        self.normalise = normalise
        self.register_buffer('center', torch.zeros(num_features))
        self.register_buffer('prototypes', torch.zeros(num_classes, num_features))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C], float32 (float64 for a float64 head)."""
        with torch.autocast(features.device.type, enabled=False):
            squares = torch.cdist(self.normalised(features), self.prototypes).square()
        return -squares.masked_fill(self.prototypes.isnan().any(dim=1), torch.inf)

    def normalised(self, features: Tensor) -> Tensor:
        """Features [B, D] as they are compared with the prototypes."""
        features = features.to(self.center.dtype)
        if self.normalise == 'cl2n':
            features = features - self.center
        return features if self.normalise == 'none' else F.normalize(features)

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]],
            all_reduce: Callable[[Tensor], None] = lambda sums: None) -> None:
        """Set center and prototypes from training features.

        Sums run in float64, so the result does not depend on how the data is cut into batches or
        over ranks.

        Args:
            batches: pairs of features [B, D] and labels int64 [B]; iterated over twice, so a list
                or the like, not a generator.
            all_reduce: adds up a tensor over all ranks, in place.
        """
        num_classes, num_features = self.prototypes.shape
        if self.normalise == 'cl2n':
            total = self.center.new_zeros(num_features + 1, dtype=torch.float64)
            for features, _ in batches:
                total += with_ones(features.to(self.center.device)).sum(dim=0)
            all_reduce(total)
            self.center.copy_(total[:-1] / total[-1])
        sums = self.center.new_zeros(num_classes, num_features + 1, dtype=torch.float64)
        for features, labels in batches:
            features = self.normalised(features.to(sums.device))
            sums.index_add_(0, labels.to(sums.device), with_ones(features))
        all_reduce(sums)
        self.prototypes.copy_(sums[:, :-1] / sums[:, -1:])
        empty = (sums[:, -1] == 0).nonzero()[:, 0].tolist()
        if empty:
            warnings.warn(f'NCMHead: classes {empty} have no training images and will never be '
                          'predicted; give each at least one.')


def with_ones(features: Tensor) -> Tensor:
    """float64 features with a column of ones, whose sum counts the rows: [B, D] -> [B, D + 1]."""
    return F.pad(features.double(), (0, 1), value=1.0)
