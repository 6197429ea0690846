"""Class weights that begin at an epoch: deferred re-weighting, or weights from the start."""

import torch
from mmengine.hooks import Hook
from torch import Tensor

from ltcls.longtail import class_prior, effective_number_weights
from ltcls.registry import HOOKS

from .unwrap import bare

MEANS = ('weighted', 'plain')


@HOOKS.register_module()
class DeferredReweightHook(Hook):
    """Weights the loss of each sample by its class, from an epoch on.

    Before epoch `begin` all classes weigh the same. From then on class c weighs in inverse
    proportion to its effective number of samples, (1 - beta) / (1 - beta ** n_c), scaled to an
    average of one. Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin
    Loss, NeurIPS 2019, Algorithm 1: that weighs by 1 / n_c, the authors' code as here. With
    `begin=0` and `mean='plain'` it is the class-balanced loss of Cui et al., Class-Balanced Loss
    Based on Effective Number of Samples, CVPR 2019. With `exponent` the weights are proportional
    to (1 / prior_c) ** exponent, the generalised re-weighting of Zhang et al., Distribution
    Alignment: A Unified Framework for Long-tail Visual Recognition, CVPR 2021. A class without
    training images weighs 0 and does not enter the average; a warning before training names it.

    Args:
        begin: first epoch with weights, counted from 0.
        beta: in [0, 1) of the effective number; not used when `exponent` is given.
        mean: 'weighted' divides by the weights in the batch, as `F.cross_entropy(weight=...)` does;
            'plain' by the batch size.
        exponent: of the inverse prior; 1 is the inverse frequency.

    Raises:
        ValueError: a value outside these; before training, weights beyond the range of numbers.
        RuntimeError: before training, a model without class counts.
    """

    def __init__(self,
                 begin: int = 0,
                 beta: float = 0.9999,
                 mean: str = 'weighted',
                 exponent: float | None = None):
        if begin < 0:
            raise ValueError(f'DeferredReweightHook got begin={begin}; epochs count from 0.')
        if not 0 <= beta < 1:
            raise ValueError(f'DeferredReweightHook got beta={beta}; it must lie in [0, 1).')
        if mean not in MEANS:
            raise ValueError(f"DeferredReweightHook got mean='{mean}'; "
                             f'choose from {", ".join(MEANS)}.')
        self.begin = begin
        self.beta = beta
        self.mean = mean
        self.exponent = exponent

    def class_weights(self, class_counts: Tensor) -> Tensor:
        """Weights for counts [C]: float64 [C], average one over classes with images, else 0."""
        if self.exponent is None:
            return effective_number_weights(class_counts, self.beta)
        present = class_counts > 0
        weights = torch.zeros_like(class_counts)
        weights[present] = class_prior(class_counts)[present] ** -self.exponent
        return weights * present.sum() / weights.sum()

    def before_train(self, runner) -> None:
        if 0 < runner.max_epochs <= self.begin:
            runner.logger.warning(
                f'DeferredReweightHook begins at epoch {self.begin}, but training ends after '
                f'{runner.max_epochs}: no class weights will be used.')
        if runner.max_epochs <= self.begin:
            return
        # What would stop training at epoch `begin` stops it here.
        counts = bare(runner.model).class_counts.cpu().double()
        if not bool(counts.sum() > 0):
            raise RuntimeError('DeferredReweightHook found no class counts in the model: keep '
                               'LongTailHook in default_hooks.')
        if not bool(self.class_weights(counts).isfinite().all()):
            raise ValueError(f'DeferredReweightHook got exponent={self.exponent}, with which class '
                             'weights are no finite numbers; use one near 1.')
        empty = (counts == 0).nonzero()[:, 0].tolist()
        if empty:
            runner.logger.warning(f'Classes {empty} have no training images: '
                                  'DeferredReweightHook gives them weight 0.')

    def before_train_epoch(self, runner) -> None:
        # In every epoch, not at `begin` alone: a resumed run may start anywhere.
        model = bare(runner.model)
        if runner.epoch < self.begin:
            model.set_class_weights(None)
            return
        counts = model.class_counts
        weights = self.class_weights(counts.cpu().double())
        model.set_class_weights(weights.to(counts.device, torch.float32), mean=self.mean)
