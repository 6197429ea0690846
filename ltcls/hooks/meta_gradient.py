"""How the weight of each training sample changes the loss on a development batch, exactly."""

import warnings
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass
from typing import Callable, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce_params, get_world_size
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Optimizer

from .draws import Draws
from .recompute import recomputed


@dataclass(frozen=True)
class VirtualStep:
    """A step of descent that is looked at and not made: theta~ = theta - eta * d.

    Args:
        reduction: the weighted loss is the 'sum' over the samples or the sum divided by their
            number ('mean').
        lr: eta; None for the current rate of each of the optimizer's groups.
        rule: 'plain', where d is the gradient; or 'optimizer', where it is what SGD would step
            along, with the momentum it has gathered and weight decay.
    """

    reduction: str = 'sum'
    lr: float | None = None
    rule: str = 'plain'

    def take(self, optimizer: Optimizer, params: list[nn.Parameter], grads: list[Tensor]
             ) -> tuple[list[Tensor], list[float]]:
        """The weights after the step and, for each tensor, the number -d theta~ / d gradient."""
        groups = {id(p): group for group in optimizer.param_groups for p in group['params']}
        directions, rates = [], []
        for parameter, grad in zip(params, grads):
            group = groups[id(parameter)]
            eta = float(group['lr']) if self.lr is None else self.lr
            factor = 1.0
            if self.rule == 'optimizer':
                grad, factor = _sgd_direction(group, optimizer.state.get(parameter, {}),
                                              parameter.detach(), grad)
            directions.append(grad)
            rates.append((eta, factor))
        steps = torch._foreach_mul(directions, [-eta for eta, _ in rates])
        moved = torch._foreach_add([p.detach() for p in params], steps)
        return list(moved), [eta * factor for eta, factor in rates]


def _sgd_direction(group: dict, state: dict, weight: Tensor, grad: Tensor
                   ) -> tuple[Tensor, float]:
    """What torch's SGD steps along, and the share of the gradient in it."""
    grad = grad.add(weight, alpha=group['weight_decay'])
    momentum, factor = group['momentum'], 1.0
    if not momentum:
        return grad, factor
    buffer = state.get('momentum_buffer')
    if buffer is None:                 # the first step takes the gradient whole
        gathered = grad
    else:
        factor = 1 - group['dampening']
        gathered = momentum * buffer + factor * grad
    if group['nesterov']:
        return grad.add(gathered, alpha=momentum), 1 + momentum * factor
    return gathered, factor


class MetaGradient:
    """The loss on a development batch after a virtual step, by the weights of the training samples.

    With theta~ = theta - eta * a * sum_i w_i grad l_i(theta), a = 1 for the sum,

        dL_D(theta~) / dw_i = -eta * a * <grad L_D(theta~), grad l_i(theta)>,

    since theta~ is affine in w: no second derivative occurs, although reverse-over-reverse
    differentiation makes the detour through one. For all samples at once it is one forward-mode
    product of the Jacobian of the losses with grad L_D. Batch norm is differentiated with its
    batch statistics. Parameters, buffers and `.grad` stay as they are; on several ranks both
    gradients are those of the whole batches, so that all ranks look at the same virtual step.
    Where a layer has no forward derivative, the product is that of a derivative in reverse, of
    <u, J grad L_D> in a vector u, at about twice the time and with the graph of a gradient.

    Args:
        model: the bare classifier, in training mode.
        batch, dev_batch: what its preprocessor hands over; the losses of `batch` are not weighted.
        optimizer: whose parameters the virtual step moves, among those that are trained.
        step: the virtual step.
        dev_loss: 'ce', cross-entropy of the logits; or 'same', the model's own loss.
        batch_norm: 'batch' statistics, or the 'running' ones.
        precision: 'float32', or 'model' for the model's own.
        shared: `losses` may be handed on to the real step: that pass moves the buffers.
        recompute: submodules that keep no activations of the development batch.
        per_rank: each rank looks at a virtual step of its own batches.
        dev_draws: what the pass over the development batch draws from, instead of the global
            generators.
        reverse: take the product in reverse; True from the first layer on that needs it.
    """

    def __init__(self, model: nn.Module, batch: dict, dev_batch: dict | None,
                 optimizer: Optimizer, step: VirtualStep = VirtualStep(), dev_loss: str = 'ce',
                 batch_norm: str = 'batch', precision: str = 'float32', shared: bool = False,
                 recompute: Sequence[str] = (), per_rank: bool = False, reverse: bool = False,
                 dev_draws: Draws | None = None):
        self.model, self.batch, self.dev_batch = model, batch, dev_batch
        self.optimizer, self.step, self.dev_loss = optimizer, step, dev_loss
        self.batch_norm, self.precision, self.shared = batch_norm, precision, shared
        self.recompute, self.reverse = recompute, reverse
        self.ranks = 1 if per_rank else get_world_size()
        moving = {id(p) for group in optimizer.param_groups for p in group['params']}
        self.params = {name: p for name, p in model.named_parameters()
                       if p.requires_grad and id(p) in moving}
        self.dev_draws = dev_draws
        self.dev_value: Tensor | None = None    # L_D [], of this rank's batch
        self._losses: Tensor | None = None
        self._draws: Draws | None = None        # those of the first pass over the batch

    @property
    def labels(self) -> Tensor:
        """Int64 [B], or MixedLabels."""
        return self.batch['labels']

    @property
    def share(self) -> float:
        """a, what a sample's loss is multiplied by in the virtual step, beside its weight."""
        batch = len(self.batch['inputs']) * self.ranks
        return 1.0 if self.step.reduction == 'sum' else 1 / batch

    @property
    def losses(self) -> Tensor:
        """Losses [B] at theta, with their graph; evaluated once."""
        if self._losses is None:
            self._draws = Draws(self.batch['inputs'].device)
            if self.shared:
                found = _forward(self.model, self.batch, 'loss')
            else:
                with self._context():
                    found = self._call({}, self.batch, 'loss')
            self._losses = self._per_sample(found)
        return self._losses

    @property
    def handed_on(self) -> Tensor | None:
        """The losses [B] that the real step may use instead of a pass of its own."""
        return self._losses if self.shared else None

    @property
    def draws(self) -> Draws | None:
        """What the passes over the batch have drawn, for dropout and the like; None before any."""
        return copy(self._draws)

    def gradient(self, weights: Tensor | None) -> Tensor:
        """dL_D(theta~) / dw [B] at these weights [B]; None for zeros, which need no losses."""
        params = list(self.params.values())
        if weights is None:
            grads = [torch.zeros_like(parameter) for parameter in params]
        else:
            total = self.share * (weights.detach() * self.losses).sum()
            # In torch 2.4 the zeros of an unused parameter require gradients.
            grads = [grad.detach() for grad in torch.autograd.grad(
                total, params, retain_graph=self.shared, materialize_grads=True)]
            self.reduce(grads, 'sum')
        moved, rates = self.step.take(self.optimizer, params, grads)
        direction = self._dev_gradient(moved)
        torch._foreach_mul_(direction, rates)
        return -self.share * self._slopes(direction)

    def _dev_gradient(self, weights: list[Tensor]) -> list[Tensor]:
        """grad L_D at these weights, the mean over ranks."""
        leaves = [weight.requires_grad_() for weight in weights]
        values = dict(zip(self.params, leaves))
        draws = nullcontext() if self.dev_draws is None else self.dev_draws.again()
        with self._context(), draws, recomputed(self.model, self.recompute):
            if self.dev_loss == 'same':
                loss = self._per_sample(self._call(values, self.dev_batch, 'loss')).mean()
            else:
                logits = self._call(values, dict(inputs=self.dev_batch['inputs']), 'tensor')
                logits = logits.mean(dim=1) if logits.dim() == 3 else logits
                loss = F.cross_entropy(logits, self.dev_batch['labels'])
            grads = [grad.detach() for grad in torch.autograd.grad(
                loss, leaves, materialize_grads=True)]
        self.dev_value = loss.detach()
        self.reduce(grads, 'mean')
        return grads

    def reduce(self, tensors: list[Tensor], op: str) -> None:
        """Replace tensors by their 'sum' or 'mean' over the ranks that share a virtual step."""
        if self.ranks > 1:
            all_reduce_params(tensors, op=op)

    def _slopes(self, tangents: list[Tensor]) -> Tensor:
        """The derivative [B] of the losses at theta along `tangents`."""
        if self._draws is None:     # no pass before this one: it draws, and others draw its again
            self._draws, draws = Draws(self.batch['inputs'].device), nullcontext()
        else:
            draws = copy(self._draws).again()
        # The fused attention kernels have no derivative of this kind, the plain one does.
        if not self.reverse:
            try:
                with self._context(), draws, sdpa_kernel(SDPBackend.MATH):
                    return self._forward_product(tangents)
            except (RuntimeError, NotImplementedError) as error:
                if 'forward AD' not in str(error) and 'forward mode AD' not in str(error):
                    raise
                warnings.warn(f'{str(error).splitlines()[0]} Sample weights are learned by '
                              'differentiating in reverse twice, which takes longer.')
            self.reverse, draws = True, copy(self._draws).again()
        with self._context(), draws, sdpa_kernel(SDPBackend.MATH):
            return self._reverse_product(tangents)

    def _forward_product(self, tangents: list[Tensor]) -> Tensor:
        with torch.no_grad(), forward_ad.dual_level():
            duals = {name: forward_ad.make_dual(parameter.detach(), tangent)
                     for (name, parameter), tangent in zip(self.params.items(), tangents)}
            losses = self._per_sample(self._call(duals, self.batch, 'loss'))
            values, slopes = forward_ad.unpack_dual(losses)
        return torch.zeros_like(values) if slopes is None else slopes

    def _reverse_product(self, tangents: list[Tensor]) -> Tensor:
        leaves = {name: p.detach().requires_grad_() for name, p in self.params.items()}
        losses = self._per_sample(self._call(leaves, self.batch, 'loss'))
        u = torch.zeros_like(losses, requires_grad=True)
        grads = torch.autograd.grad(losses, list(leaves.values()), u, create_graph=True,
                                    allow_unused=True)
        along = sum((grad * tangent).sum() for grad, tangent in zip(grads, tangents)
                    if grad is not None)
        return torch.autograd.grad(along, u)[0]

    def _call(self, parameters: dict[str, Tensor], batch: dict, mode: str):
        """The model with these parameters and with copies of its buffers."""
        copies = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        return _forward(lambda **given: torch.func.functional_call(
            self.model, {**copies, **parameters}, (), given), batch, mode)

    def _per_sample(self, found: dict) -> Tensor:
        losses = sum(value for name, value in found.items() if 'loss' in name)
        if losses.dim() != 1:
            raise TypeError(f'{type(self.model).__name__} returns a loss of shape '
                            f'{tuple(losses.shape)}; sample weights need one number a sample.')
        return losses

    @contextmanager
    def _context(self):
        """The precision and the batch norm of the passes that are not handed on."""
        kept, still = self.model.dtype, []
        if self.precision == 'float32':
            self.model.dtype = None
        if self.batch_norm == 'running':
            still = [m for m in self.model.modules() if isinstance(m, _BatchNorm) and m.training]
        try:
            for module in still:
                module.training = False
            yield
        finally:
            self.model.dtype = kept
            for module in still:
                module.training = True


def _forward(model: Callable, batch: dict, mode: str):
    try:
        return model(**dict(batch, inputs=_fast_layout(batch['inputs'])), mode=mode)
    except RuntimeError as error:
        if 'view size is not compatible' not in str(error):
            raise
        raise RuntimeError(
            'The model calls `view` on feature maps. Sample weights are learned in channels-last '
            'memory on a CPU, where that is not possible: call `reshape` instead.') from error


def _fast_layout(inputs: Tensor) -> Tensor:
    """Images in the memory layout whose convolutions a CPU differentiates fastest."""
    if inputs.dim() == 4 and inputs.device.type == 'cpu':
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


def load_forward_rules() -> None:
    """Let torch load its forward derivatives, at which it warns of its own use of old functions."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter('ignore', FutureWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


def check_virtual_optimizer(optimizer: Optimizer) -> None:
    """Whether a virtual step can follow the optimizer's rule.

    Raises:
        ValueError: an optimizer other than torch's SGD.
    """
    if type(optimizer) is not SGD or any(group.get('maximize') for group in
                                         optimizer.param_groups):
        raise ValueError(f"virtual_step='optimizer' follows SGD, this run has "
                         f"{type(optimizer).__name__}: use virtual_step='plain'.")
