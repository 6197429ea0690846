"""CC-SAM, stage 1: every class perturbs the classifier in its own direction, by its own radius."""

from typing import Sequence

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor, nn

from ltcls.registry import OPTIM_WRAPPERS

from .norm_statistics import BatchStatistics
from .objective import Objective
from .perturbed import PerturbedOptimWrapper

SMALLEST_NORM = 1e-12      # a class whose gradient is below this is fitted, and not perturbed
CHOICES = dict(
    perturb=('head', 'last_blocks', 'all'),
    variant=('full', 'dir', 'mag'),
    param_norm=('global', 'tensor'),
    grad_norm=('global', 'tensor'),
    reduction=('mean', 'class_mean', 'class_sum'),
    flat_target=('mixed', 'first'))


@OPTIM_WRAPPERS.register_module()
class CCSAM(PerturbedOptimWrapper):
    """Class-conditional sharpness-aware minimisation.

    Class c of the batch is evaluated at weights w + e_c along the gradient G_c of its own mean loss,
    ||e_c|| = radius * k^(1/4) * (n_c - 1)^(-1/4) * (||w|| / (2 ||G_c||))^(1/2), for k perturbed
    weights and n_c training images: the rarer, the farther. The step descends
    (1 - mix) * clean loss + mix * loss of the classes at their perturbed weights.

    Zhou et al., Class-Conditional Sharpness-Aware Minimization for Deep Long-Tailed Recognition,
    CVPR 2023. Defaults are the paper's formula: radius and mix 1, norms over all perturbed tensors
    together. The authors' code takes the norm of each gradient tensor apart (`grad_norm='tensor'`),
    a radius of 1e-6, part of the clean loss, and under mixup the first label alone for the flat
    loss. Under mixing the first label decides on the class of an image.

    For a linear head the perturbed logits of the whole batch follow from the B x B products of
    features and of logit gradients, without a loop over classes and without a second forward.
    Other heads, and more than the head, take a loop over the classes of the batch. Batch norm
    normalises the images of a class as in the clean pass over the batch; on several ranks by the
    statistics of the rank's own part, of which G_c is taken too.

    A class with one training image has the radius of a class with two. So has one that comes up in
    a batch although its count is 0: no step looks, which would be to wait for the device.

    Args:
        radius: factor of the radius; 0 leaves the classes where they are, which is the plain step
            unless `reduction` or `flat_target` ask for another loss. Not used by 'dir'.
        mix: share of the perturbed loss, in [0, 1]; 0 is the plain step.
        perturb: 'head', 'last_blocks' (of the backbone, and the head) or 'all'; trainable
            parameters only.
        last_blocks: modules or parameters of the backbone for 'last_blocks', such as 'layer3' of
            a CIFAR ResNet or 'model.blocks.11' of a ViT; without any, the last module of the
            backbone that has weight matrices, which on a ViT holds all its blocks.
        variant: 'full'; 'dir' for offsets of norm 1 along G_c; 'mag' for offsets of the right norm
            in a random direction. The last two are the paper's ablation.
        param_norm, grad_norm: 'global', or 'tensor' for a radius of each tensor of its own.
        reduction: of the perturbed losses: 'mean' over samples, 'class_mean' over class means, or
            'class_sum'.
        flat_target: under mixing, 'mixed' or 'first' labels for the perturbed losses.
        max_relative_radius: bound of ||e_c|| / ||w||. The radius grows without limit as a class
            gets fitted; 0.5 is sensible where `radius` is near 1.
        sync_classes: G_c of a linear head is the mean over the samples of all ranks, whose batches
            have one size, as of a single process with the whole batch. Directions of 'mag' stay
            each rank's own, and so do the class means of `reduction`.
        options: see `PerturbedOptimWrapper`.

    Raises:
        ValueError: a value outside these, a prefix that no parameter has, nothing to perturb of
            the chosen part (frozen, or left out by `include` and `exclude`), or `sync_classes`
            where classes take the loop.
    """

    uses_counts = True

    def __init__(self, optimizer: torch.optim.Optimizer, radius: float = 1.0, mix: float = 1.0,
                 perturb: str = 'head', last_blocks: Sequence[str] = (), variant: str = 'full',
                 param_norm: str = 'global', grad_norm: str = 'global', reduction: str = 'mean',
                 flat_target: str = 'mixed', max_relative_radius: float | None = None,
                 sync_classes: bool = False, **options):
        super().__init__(optimizer, **options)
        chosen = dict(perturb=perturb, variant=variant, param_norm=param_norm, grad_norm=grad_norm,
                      reduction=reduction, flat_target=flat_target)
        for name, value in chosen.items():
            if value not in CHOICES[name]:
                raise ValueError(f"CCSAM got {name}='{value}'; use {', '.join(CHOICES[name])}.")
        if radius < 0 or not 0 <= mix <= 1:
            raise ValueError(f'CCSAM got radius={radius}, mix={mix}; radius must be at least 0 and '
                             'mix in [0, 1].')
        if max_relative_radius is not None and max_relative_radius <= 0:
            raise ValueError(f'CCSAM got max_relative_radius={max_relative_radius}; use a positive '
                             'number such as 0.5, or None.')
        self.radius, self.mix, self.perturb, self.variant = radius, mix, perturb, variant
        self.last_blocks = tuple(last_blocks)
        self.param_norm, self.grad_norm = param_norm, grad_norm
        self.reduction, self.first_label = reduction, flat_target == 'first'
        self.max_relative_radius = max_relative_radius
        self.sync_classes = sync_classes
        self.plain = not mix or (not radius and variant != 'dir' and reduction == 'mean'
                                 and flat_target == 'mixed')
        # The class loop replaces weights and batch statistics inside the backbone.
        self.capturable = perturb == 'head'

    def choose(self, model: nn.Module) -> None:
        super().choose(model)
        if self.sync_classes and not (self.perturb == 'head' and is_linear(model.head)):
            raise ValueError("CCSAM: sync_classes=True needs perturb='head' and a linear head: ranks "
                             'that loop over classes do not meet.')
        names = [name for name, _ in model.named_parameters()]
        for block in self.last_blocks if self.perturb == 'last_blocks' else ():
            if not any(_inside(name, [f'backbone.{block}']) for name in names):
                raise ValueError(f"CCSAM: last_blocks names '{block}', which no parameter of the "
                                 f"backbone has; its last module is '{last_block(model.backbone)}'.")
        parts = self._parts(model)
        if self._trainable() and not any(_inside(name, parts) for name in self.names):
            raise ValueError(f"CCSAM: nothing of perturb='{self.perturb}' is left to perturb by "
                             f"include={self.include}, exclude={self.exclude} and what the model "
                             'freezes: change them, or use another wrapper for this stage.')

    def _parts(self, model: nn.Module) -> list[str]:
        """The modules and parameters that are perturbed, by name."""
        if self.perturb == 'all':
            return ['']
        blocks = self.last_blocks or [last_block(model.backbone)]
        blocks = blocks if self.perturb == 'last_blocks' else ()
        return ['head', *(f'backbone.{block}' for block in blocks)]

    def accumulate_grad(self, objective: Objective) -> None:
        if self.plain:
            return self.backward(objective().mean())
        if self.perturb != 'head':
            return self._loop_over_model(objective)
        features = objective.features()
        if is_linear(objective.head):
            return self.backward(self.closed_form_loss(objective, features))
        self._loop_over_head(objective, features)

    # -- closed form ----------------------------------------------------------------------------

    def closed_form_loss(self, objective: Objective, features: Tensor) -> Tensor:
        """The loss of a batch with a linear head, from its features [B, D]."""
        logits = objective.logits(features)
        losses = objective.losses(features, logits=logits)
        omega = self._part_of(objective, 'head.')
        if not omega:                   # frozen since the first step
            return losses.mean()
        [slopes] = torch.autograd.grad(losses.sum(), logits, retain_graph=True)
        offsets = self._logit_offsets(objective, features, slopes, omega)
        flat = objective.losses(features, logits=logits + offsets, first_label=self.first_label)
        flat = self._reduce(flat, objective.labels)
        return flat if self.mix == 1 else (1 - self.mix) * losses.mean() + self.mix * flat

    def _logit_offsets(self, objective: Objective, features: Tensor, slopes: Tensor,
                       omega: dict[str, Tensor]) -> Tensor:
        """What the perturbation of each sample's class adds to its logits, [B, C].

        The weight's gradient of class c is the mean over its samples of slope_j feature_j^T, so
        e_c feature_i is the mean of slope_j (feature_j . feature_i), times a scale. Gradient flows
        to feature_i alone: the perturbation is a constant.
        """
        # N samples, of this rank or of all; this rank's B stand at `own`.
        (labels, fixed, slopes), own = self._samples(objective.labels, features.detach(), slopes)
        mean = (labels[:, None] == labels).to(features.dtype)
        mean = mean / mean.sum(dim=1)                    # [N, N]: averages over the sample's class
        products = features @ fixed.T                    # [B, N]
        among = products.detach() if len(fixed) == len(features) else fixed @ fixed.T
        # Per tensor, the inner products of the samples' gradients divided by those of the slopes.
        averaged = mean * (slopes @ slopes.T)
        factors = {'weight': among, 'bias': 1}
        squares = [mean @ (averaged * factors[name]).sum(dim=1) for name in omega]
        norms = torch.stack(squares).clamp(min=0).sqrt()
        scales = self._scales(objective.class_counts[labels], norms, list(omega.values()))
        norms, scales = norms[:, own], scales[:, own]
        if self.variant == 'mag':
            lengths = (scales * norms).square().sum(dim=0).sqrt()
            return lengths[:, None] * self._random_logits(
                labels[own], features, slopes[own], omega)
        factors = {'weight': products, 'bias': 1}
        kernel = sum(scale[:, None] * factors[name] for scale, name in zip(scales, omega))
        return (mean[own] * kernel) @ slopes

    def _samples(self, *parts: Tensor) -> tuple[Sequence[Tensor], slice]:
        """The rows of all ranks where classes are synchronised, and which of them are this rank's."""
        size = len(parts[0])
        if not self.sync_classes or get_world_size() == 1:
            return parts, slice(None)
        start = get_rank() * size
        whole = [torch.cat(all_gather(part.contiguous())) for part in parts]
        return whole, slice(start, start + size)

    def _random_logits(self, labels: Tensor, features: Tensor, slopes: Tensor,
                       omega: dict[str, Tensor]) -> Tensor:
        """Logits [B, C] of a random direction of norm 1 for each class of the batch."""
        present, row = labels.unique(return_inverse=True)
        directions = dict(zip(omega, self.draw_directions(present, list(omega.values()))))
        logits = torch.zeros_like(slopes)
        if 'weight' in directions:
            logits = logits + torch.einsum('bcd,bd->bc', directions['weight'][row], features)
        return logits + directions['bias'][row] if 'bias' in directions else logits

    # -- loop over classes ----------------------------------------------------------------------

    def _loop_over_head(self, objective: Objective, features: Tensor) -> None:
        omega = self._part_of(objective, 'head.')
        cut = features.detach().requires_grad_()    # so that each class's graph is freed at once
        losses = objective.losses(cut)
        if not omega:                   # frozen since the first step
            self.backward(losses.mean())
        elif self.mix < 1:
            self.backward((1 - self.mix) * losses.mean())
        for label, index, share in self._classes(objective.labels) if omega else ():
            grads = self.gradient(objective.losses(cut, index).mean(), list(omega.values()))
            moved = self._moved(objective, label, omega, grads)
            flat = objective.losses(cut, index, head=moved, first_label=self.first_label)
            self.backward(share * flat.mean())
        if features.requires_grad:
            features.backward(cut.grad)

    def _loop_over_model(self, objective: Objective) -> None:
        parts = self._parts(objective.model)
        omega = {name: parameter for name, parameter in zip(self.names, self.params)
                 if _inside(name, parts)}
        statistics = BatchStatistics(objective.model)
        with statistics.record():
            losses = objective()
        for label, index, share in self._classes(objective.labels):
            with statistics.used(fixed=True):
                grads = self.gradient(objective.losses_at({}, index).mean(), list(omega.values()))
            with statistics.used():
                moved = self._moved(objective, label, omega, grads)
                flat = objective.losses_at(moved, index, first_label=self.first_label)
                self.backward(share * flat.mean())
        # The clean pass: its own share of the loss, and what the classes' passes owe to its
        # batch-norm statistics.
        ends = [(root, leaf.grad) for root, leaf in zip(statistics.roots, statistics.leaves)
                if root.requires_grad and leaf.grad is not None]
        if self.mix < 1:
            ends.append((self._scaled((1 - self.mix) * losses.mean()), None))
        if ends:
            torch.autograd.backward(*map(list, zip(*ends)))

    def _classes(self, labels: Tensor):
        """Label, indices and share in the loss of each class in the batch."""
        present = labels.unique()
        for label in present:
            index = (labels == label).nonzero()[:, 0]
            share = dict(mean=len(index) / len(labels), class_mean=1 / len(present), class_sum=1.0)
            yield label, index, self.mix * share[self.reduction]

    def _moved(self, objective: Objective, label: Tensor, omega: dict[str, Tensor],
               grads: list[Tensor | None]) -> dict[str, Tensor]:
        """The perturbed parameters of one class, as functions of the unperturbed ones."""
        used = {name: grad for name, grad in zip(omega, grads) if grad is not None}
        weights = [omega[name] for name in used]
        if not used:
            return {}
        norms = torch.stack(torch._foreach_norm(list(used.values())))[:, None]
        scales = self._scales(objective.class_counts[label][None], norms, weights)[:, 0]
        directions = list(used.values())
        if self.variant == 'mag':
            scales = (scales * norms[:, 0]).square().sum().sqrt().expand(len(used))
            directions = [drawn[0] for drawn in self.draw_directions(label[None], weights)]
        offsets = torch._foreach_mul(directions, list(scales.unbind()))
        return {name: weight + offset for name, weight, offset in zip(used, weights, offsets)}

    # -- shared by both -------------------------------------------------------------------------

    def _scales(self, counts: Tensor, norms: Tensor, omega: list[Tensor]) -> Tensor:
        """Factors [T, N] of the gradients of T tensors for N classes (or the classes of N samples).

        Args:
            counts: training images of the classes, [N].
            norms: of the class gradients, tensor by tensor, [T, N].
        """
        sizes = torch.stack([weight.detach().square().sum() for weight in omega]).sqrt()
        size = sizes.square().sum().sqrt()
        numbers = sum(weight.numel() for weight in omega)
        slopes = norms if self.grad_norm == 'tensor' else (
            norms.square().sum(dim=0, keepdim=True).sqrt().expand_as(norms))
        safe = slopes.clamp(min=SMALLEST_NORM)
        if self.variant == 'dir':
            scales = 1 / safe
        else:
            lengths = sizes[:, None] if self.param_norm == 'tensor' else size
            classes = (numbers / (counts - 1).clamp(min=1)) ** 0.25
            scales = self.radius * classes.to(norms) * (lengths / 2).sqrt() * safe ** -1.5
        scales = torch.where(slopes > SMALLEST_NORM, scales, torch.zeros_like(scales))
        if self.max_relative_radius is not None:
            radii = (scales * norms).square().sum(dim=0).sqrt()
            limit = self.max_relative_radius * size
            scales = scales * (limit / radii.clamp(min=SMALLEST_NORM)).clamp(max=1)
        return scales

    def draw_directions(self, labels: Tensor, omega: list[Tensor]) -> list[Tensor]:
        """For each tensor of `omega` a random [U, ...], of norm 1 over all tensors, for U classes."""
        drawn = [torch.randn(len(labels), *weight.shape, dtype=weight.dtype, device=weight.device)
                 for weight in omega]
        norms = sum(part.flatten(1).square().sum(dim=1) for part in drawn).sqrt()
        return [part / norms.view(-1, *[1] * (part.dim() - 1)) for part in drawn]

    def _reduce(self, losses: Tensor, labels: Tensor) -> Tensor:
        """One number from the perturbed losses [B]."""
        if self.reduction == 'mean':
            return losses.mean()
        shares = 1 / (labels[:, None] == labels).sum(dim=1).to(losses.dtype)
        total = (shares * losses).sum()
        # The shares of a class add up to 1, so all of them to the number of classes.
        return total / shares.sum() if self.reduction == 'class_mean' else total

    def _part_of(self, objective: Objective, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): parameter
                for name, parameter in zip(self.names, self.params) if name.startswith(prefix)}


def is_linear(head: nn.Module) -> bool:
    """Whether logits are weight @ features + bias, which a head's own class says by `linear = True`.

    Not inherited: a subclass with another forward would otherwise be taken for linear.
    """
    return type(head) is nn.Linear or bool(vars(type(head)).get('linear', False))


def last_block(backbone: nn.Module) -> str:
    """Name of the last module that has weight matrices, inside wrappers that hold only one such."""
    path, node = '', backbone
    while True:
        children = [(name, child) for name, child in node.named_children()
                    if any(parameter.dim() > 1 for parameter in child.parameters())]
        if not children:
            return path.removesuffix('.')
        name, node = children[-1]
        if len(children) > 1:
            return path + name
        path += f'{name}.'


def _inside(name: str, parts: Sequence[str]) -> bool:
    """Whether a parameter is one of these, or lies in one; '' is the whole model."""
    return any(f'{name}.'.startswith(part and f"{part.rstrip('.')}.") for part in parts)
