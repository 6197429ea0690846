"""Meta-reweighting: class weights, and one learned number for each sample beside them."""

import warnings
from typing import Sequence

import torch
from torch import Tensor, nn

from ltcls.longtail import effective_number_weights, value_at
from ltcls.registry import HOOKS

from .l2rw import shares_of_help
from .meta_gradient import MetaGradient, VirtualStep, check_virtual_optimizer
from .sample_weights import SampleWeightHook


@HOOKS.register_module()
class MetaReweightHook(SampleWeightHook):
    """Sample i of class y weighs w_y + eps_i from epoch `begin` on; before, all weigh the same.

    w_y = (1 - beta) / (1 - beta ** n_y), scaled to an average of one, stands for how much rarer
    the class is in training than in testing. eps_i = -tau * dL_D / d eps_i corrects it for the
    sample: it is one step of descent, from 0 and anew in each batch, on the loss L_D of a balanced
    development batch after a virtual step with the weights w_y + eps. eps is neither clipped nor
    normalised, so a weight may be negative; weights.jsonl has the share. With `tau=0` this is
    class-balanced training deferred to `begin`, and makes no further passes. A mixed image weighs
    what its two labels weigh, in their shares, as a whole: its two losses are not weighted apart.

    Jamal et al., Rethinking Class-Balanced Methods for Long-Tailed Visual Recognition from a Domain
    Adaptation Perspective, CVPR 2020, Algorithm 1. Where paper and authors' code differ the
    defaults follow the code, with which the numbers were made: beta is a constant, the weights are
    scaled, the virtual step takes the sum over the batch (and the real one the mean), and L_D is
    cross-entropy. Counts are those after the development images were taken out.

    Args:
        begin: first epoch with these weights, counted from 0.
        tau: step of eps.
        beta: in [0, 1) of the effective number, or 'auto': (N - 1) / N of N training images.
        class_weights: False for w = 1.
        scale_class_weights: False for the bare formula, which is of the order of 1 / n_y.
        virtual_reduction: 'sum' or 'mean' of the losses in the virtual step.
        virtual_lr: its rate; None for the optimizer's current one, or pairs (first epoch, rate).
        virtual_step: 'plain' gradient; or 'optimizer', with the momentum and weight decay of SGD.
        learned: 'part' of a weight is; or the 'whole', which is then clipped and normalised as by
            `L2RWHook`, from a virtual step with class weights and whatever tau is.
        options: see `SampleWeightHook`.

    Raises:
        ValueError: a value outside these.
    """

    def __init__(self, begin: int = 160, tau: float = 0.01, beta: float | str = 0.9999,
                 class_weights: bool = True, scale_class_weights: bool = True,
                 virtual_reduction: str = 'sum',
                 virtual_lr: float | Sequence[Sequence[float]] | None = None,
                 virtual_step: str = 'plain', learned: str = 'part', **options):
        super().__init__(begin=begin, **options)
        self._check('tau', tau, tau >= 0, 'at least 0')
        self._check('beta', beta, beta == 'auto' or not isinstance(beta, str) and 0 <= beta < 1,
                    "'auto' or in [0, 1)")
        self._check('virtual_reduction', virtual_reduction, virtual_reduction in ('sum', 'mean'),
                    "'sum' or 'mean'")
        self._check('virtual_step', virtual_step, virtual_step in ('plain', 'optimizer'),
                    "'plain' or 'optimizer'")
        self._check('learned', learned, learned in ('part', 'whole'), "'part' or 'whole'")
        if isinstance(virtual_lr, (list, tuple)):
            epochs = [first for first, _ in virtual_lr]
            fits = bool(epochs) and epochs[0] <= begin and epochs == sorted(set(epochs))
            self._check('virtual_lr', virtual_lr, fits,
                        f'pairs (first epoch, rate) in order, the first at {begin} or before')
        self.tau, self.beta, self.learned = tau, beta, learned
        self.class_weights, self.scale_class_weights = class_weights, scale_class_weights
        self.virtual_reduction, self.rule = virtual_reduction, virtual_step
        self.virtual_lr = virtual_lr
        self.learns = tau > 0 or learned == 'whole'
        self.by_class: Tensor | None = None

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        if self.rule == 'optimizer':
            check_virtual_optimizer(optimizer)
        counts = model.class_counts
        weights = torch.ones_like(counts)
        if self.class_weights:
            weights = balancing_weights(counts.cpu(), self.beta, self.scale_class_weights)
        self.by_class = weights.to(counts.device, torch.float32)

    def virtual_step(self, epoch: int) -> VirtualStep:
        lr = self.virtual_lr if self.virtual_lr is None else value_at(self.virtual_lr, epoch)
        return VirtualStep(self.virtual_reduction, lr, self.rule)

    def sample_weights(self, problem: MetaGradient) -> tuple[Tensor, dict[str, Tensor]]:
        classes = self.weights_of(problem.labels)
        if not self.learns:
            return classes, {}
        slopes = problem.gradient(classes)
        if self.learned == 'whole':
            weights = shares_of_help(slopes, problem.ranks)
            return weights, dict(unused=(weights == 0).float().mean(), largest=weights.max())
        eps = -self.tau * slopes
        # Apart from the sum, in which float32 would round eps.
        return classes + eps, dict(eps=eps.abs().mean(), class_weight=classes.mean())

    def weights_of(self, labels) -> Tensor:
        """w_y [B] of labels int64 [B], or of MixedLabels."""
        if isinstance(labels, Tensor):
            return self.by_class[labels]
        return (labels.share * self.by_class[labels.first]
                + (1 - labels.share) * self.by_class[labels.second])


def balancing_weights(class_counts: Tensor, beta: float | str, scale: bool = True) -> Tensor:
    """`effective_number_weights` float64 [C], with a warning of classes without images.

    `beta='auto'` is (N - 1) / N with N images in all.
    """
    counts = torch.as_tensor(class_counts, dtype=torch.float64)
    empty = int((counts == 0).sum())
    if empty:
        warnings.warn(f'Classes without a training image: {empty}; they weigh 0.')
    return effective_number_weights(counts, 1 - 1 / float(counts.sum()) if beta == 'auto' else beta,
                                    scale)
