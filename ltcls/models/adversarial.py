"""CC-SAM, stage 2: the classifier alone, on features shifted towards a higher loss."""

from typing import Sequence

import torch
from torch import Tensor

from ltcls.registry import MODELS

from .classifier import Classifier
from .mixing import MixedLabels


@MODELS.register_module()
class AdversarialFeatureClassifier(Classifier):
    """A classifier trained with a growing share of adversarial features.

    The loss is (1 - a) * L(f) + a * v_y * L(f + step * v_y * D), where D is the gradient of the loss
    by the feature, normalised, and a = min((t + 1) / T, max_share) in epoch t of T. The class weight
    v_c = log(n_max / n_c + 0.01) / divisor all but leaves the most frequent class out (0.005).
    Meant for a frozen backbone, a trained head and class-balanced samples.

    Zhou et al., Class-Conditional Sharpness-Aware Minimization for Deep Long-Tailed Recognition,
    CVPR 2023, after the authors' code. The paper has no class weights, one normalisation for each
    feature, and t / T: `shift_weight=False, loss_weight=False, norm='sample'`. Batch norm in the
    frozen backbone keeps its statistics; in the code they drift (`frozen_bn='shift'`).

    Args:
        step: length of the shift, in feature norm.
        max_share: largest share of the adversarial loss, in [0, 1].
        divisor: of the class weights.
        norm: over what D has norm 1: 'class' (all features of the class in the batch), 'sample' or
            'batch'.
        shift_weight, loss_weight: whether v multiplies the shift and the adversarial loss.
        options: see `Classifier`.

    Raises:
        ValueError: a value outside these.
    """

    def __init__(self, *args, step: float = 1.0, max_share: float = 1.0, divisor: float = 2.0,
                 norm: str = 'class', shift_weight: bool = True, loss_weight: bool = True,
                 **options):
        super().__init__(*args, **options)
        if norm not in ('class', 'sample', 'batch'):
            raise ValueError(f"AdversarialFeatureClassifier got norm='{norm}'; use 'class', "
                             "'sample' or 'batch'.")
        if step < 0 or divisor <= 0 or not 0 <= max_share <= 1:
            raise ValueError(f'AdversarialFeatureClassifier got step={step}, divisor={divisor}, '
                             f'max_share={max_share}; step must be at least 0, divisor positive, '
                             'max_share in [0, 1].')
        self.step, self.max_share, self.divisor, self.norm = step, max_share, divisor, norm
        self.shift_weight, self.loss_weight = shift_weight, loss_weight
        weights = torch.zeros(len(self.class_counts))
        self.register_buffer('tail_weights', weights, persistent=False)

    def bind(self, class_counts: Sequence[int] | Tensor) -> None:
        super().bind(class_counts)
        counts = self.class_counts.clamp(min=1)
        self.tail_weights.copy_((counts.max() / counts + 0.01).log() / self.divisor)

    @property
    def share(self) -> float:
        """The adversarial share of the loss in this epoch."""
        return min((self.clock.epoch + 1) / self.clock.max_epochs, self.max_share)

    def losses(self, features: Tensor, labels: Tensor | MixedLabels, weights: Tensor | None = None,
               index: Tensor | None = None, head: dict[str, Tensor] | None = None,
               logits: Tensor | None = None) -> Tensor:
        """As `Classifier.losses`, with the adversarial part; mixed labels count by the first.

        Raises:
            ValueError: given logits, which are not a function of the features.
        """
        if logits is not None:
            raise ValueError('AdversarialFeatureClassifier evaluates its head at shifted features, '
                             "so a closed form of the logits does not hold: use another wrapper "
                             'than CCSAM in stage 2.')
        options = dict(weights=weights, index=index, head=head)
        first = labels.first if isinstance(labels, MixedLabels) else labels
        tail = self.tail_weights[first].to(features.dtype)
        with torch.enable_grad():
            still = torch.zeros_like(features, requires_grad=True)
            clean = super().losses(features + still, labels, **options)
            [slopes] = torch.autograd.grad(clean.sum(), still, retain_graph=True)
        # A constant, also where the losses are differentiated forward.
        shift = self.step * self._normalised(slopes.detach(), first)
        if self.shift_weight:
            shift = shift * tail[:, None]
        adversarial = super().losses(features + shift, labels, **options)
        if self.loss_weight:
            adversarial = adversarial * (tail if index is None else tail[index])
        return (1 - self.share) * clean + self.share * adversarial

    def _normalised(self, slopes: Tensor, labels: Tensor) -> Tensor:
        """Slopes [B, D] divided by the norm over the sample's class, the sample, or the batch."""
        squares = slopes.square().sum(dim=1)
        if self.norm == 'class':
            squares = torch.zeros_like(self.tail_weights, dtype=squares.dtype).index_add(
                0, labels, squares)[labels]
        elif self.norm == 'batch':
            squares = squares.sum()[None]
        return slopes / squares.sqrt().clamp(min=1e-12)[:, None]
