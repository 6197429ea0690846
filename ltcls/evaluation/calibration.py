"""Does a confidence of 80% mean right in 80% of the cases?"""

from typing import NamedTuple

import torch
from torch import Tensor


class ReliabilityBins(NamedTuple):
    """Confidence and accuracy in equal-width bins of confidence; all float64, shape [bins].

    Bin m holds confidences in (m / bins, (m + 1) / bins], the first one zero as well. An empty bin
    has confidence and accuracy 0 and no images.
    """

    images: Tensor
    confidence: Tensor      # mean of the bin's confidences, in [0, 1]
    accuracy: Tensor        # share of the bin's images that are right, in [0, 1]

    @property
    def error(self) -> float:
        """Expected calibration error, in [0, 1]: the mean gap, weighted by the bins' images.

        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, Eq. 3.
        """
        gaps = (self.accuracy - self.confidence).abs()
        return float((self.images * gaps).sum() / self.images.sum())


def reliability_bins(confidences: Tensor, correct: Tensor, bins: int = 15) -> ReliabilityBins:
    """Sort predictions into equal-width bins of their confidence.

    Args:
        confidences: probability of the predicted class, floating, shape [N], in [0, 1].
        correct: whether the prediction is right, shape [N], bool or 0 and 1.
        bins: number of bins.

    Raises:
        ValueError: no predictions, no bins, or a confidence outside [0, 1].
    """
    if bins < 1:
        raise ValueError(f'bins={bins} must be at least 1, e.g. 15.')
    if len(confidences) == 0:
        raise ValueError('No predictions, no calibration; evaluate at least one image.')
    # A sum of float32 probabilities may round to a little above one.
    inside = (confidences >= 0) & (confidences <= 1 + 1e-4)
    if not bool(inside.all()):
        worst = float(confidences[~inside][0])
        raise ValueError(f'A confidence of {worst} is no probability; pass softmax scores.')
    # Edges in the confidences' own precision: float32 0.6 must not pass the edge 9 / 15.
    edges = (torch.arange(1, bins, dtype=torch.float64) / bins).to(confidences)
    index = torch.bucketize(confidences, edges)
    values = confidences.double()
    images = torch.bincount(index, minlength=bins).double()
    present = images.clamp(min=1)
    return ReliabilityBins(
        images=images,
        confidence=torch.bincount(index, weights=values, minlength=bins) / present,
        accuracy=torch.bincount(index, weights=correct.double(), minlength=bins) / present)
