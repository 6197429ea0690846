"""The base of methods that take the gradient somewhere else than at the weights."""

import re
from contextlib import contextmanager
from typing import Callable, Sequence

import torch
import torch.distributed
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ltcls.registry import OPTIM_WRAPPERS

from .objective import Objective


@OPTIM_WRAPPERS.register_module()
class PerturbedOptimWrapper(OptimWrapper):
    """Steps with gradients taken at perturbed weights; as it stands, at the weights themselves.

    A method writes `accumulate_grad`. Loss scaling, accumulation, averaging over ranks, clipping
    and the step are here, once for all. The precision is the model's (`model.precision`); float16
    needs `loss_scale` beside it. Each micro-batch is perturbed on its own, and each rank perturbs
    with its own part of the batch; gradients are averaged over ranks once, before clipping.
    Perturbed weights are restored bit for bit, also when the loss raises; gradients are then what
    earlier micro-batches have left.

    Args:
        optimizer, accumulative_counts, clip_grad: as in mmengine's `OptimWrapper`.
        loss_scale: None; or for float16 'dynamic', a constant, or a dict with the arguments of
            `torch.amp.GradScaler`. A step whose gradients are not finite is skipped on all ranks.
        include: patterns (regular expressions, searched in the parameter's name, such as
            '^head'); only parameters that one of them fits are perturbed. None for all.
        exclude: patterns of parameters that are not perturbed.
        exclude_norm_bias: leave vectors and scalars alone, which are the scales and shifts of
            normalisation layers and the biases.

    Raises:
        ValueError: patterns that leave nothing to perturb.
        TypeError: one pattern instead of a list; weights below float32, which small offsets would
            vanish in.
        RuntimeError: at the first step, a method that uses class counts and a model without them.
    """

    capturable = True       # works on a compiled backbone: `model.compile`, `model.cuda_graphs`
    uses_counts = False     # means nothing without the class counts
    # Whether the first evaluation is `objective()` at the weights as they are, so that a pass made
    # before the step can take its place. A method that writes `accumulate_grad` says so itself.
    starts_at_weights = True

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if 'accumulate_grad' in vars(cls) and 'starts_at_weights' not in vars(cls):
            cls.starts_at_weights = False

    def __init__(self, optimizer: torch.optim.Optimizer, accumulative_counts: int = 1,
                 clip_grad: dict | None = None, loss_scale: str | float | dict | None = None,
                 include: Sequence[str] | None = None, exclude: Sequence[str] = (),
                 exclude_norm_bias: bool = False):
        super().__init__(optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad)
        for key, patterns in dict(include=include, exclude=exclude).items():
            if isinstance(patterns, str):
                raise TypeError(f'{type(self).__name__} got {key}={patterns!r}; it must be a list '
                                f'of patterns: [{patterns!r}].')
        self.include, self.exclude = include, exclude
        self.exclude_norm_bias = exclude_norm_bias
        self.loss_scaler = self._scaler(loss_scale)
        self.displaced = False
        self._model: nn.Module | None = None
        self._chosen: list[tuple[str, nn.Parameter]] = []
        self._copies: tuple[list[int], list[Tensor]] = ([], [])
        self._flat: tuple[list[int], Tensor | None, list[Tensor]] = ([], None, [])

    # -- what a method writes -------------------------------------------------------------------

    def accumulate_grad(self, objective: Objective) -> None:
        """Add this mini-batch's gradient to `.grad`, by way of `backward`."""
        self.backward(objective().mean())

    # -- the step -------------------------------------------------------------------------------

    def update_params(self, objective: Objective, step_kwargs: dict | None = None,
                      zero_kwargs: dict | None = None) -> None:
        """Accumulate; when a step is due, average over ranks, unscale, clip, step and zero.

        Raises:
            TypeError: a loss tensor, which cannot be evaluated again.
            RuntimeError: no gradient after the first batch.
        """
        if not isinstance(objective, Objective):
            raise TypeError(f'{type(self).__name__} got a {type(objective).__name__} instead of an '
                            'Objective: it evaluates the loss again, so the model has to be an '
                            "ltcls Classifier, whose train_step hands one over.")
        first = objective.model is not self._model
        if first:
            self.choose(objective.model)
        with self._gradients_restored():
            self.accumulate_grad(objective)
        if first:
            self._check_gradient()
        self._inner_count += 1
        if self.should_update():
            self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))

    def step(self, **kwargs) -> None:
        """Average over ranks, unscale, clip, step."""
        if self.displaced:
            raise RuntimeError('A step inside `perturbed` would start from perturbed weights.')
        self._average_grads()
        if self.loss_scaler is not None:
            self.loss_scaler.unscale_(self.optimizer)
        if self.clip_grad_kwargs:
            self._clip_grad()
        if self.loss_scaler is None:
            self.optimizer.step(**kwargs)
            return
        # After averaging, a gradient that is not finite on one rank is so on all: all skip.
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self._constant_scale)

    # -- tools for accumulate_grad --------------------------------------------------------------

    def choose(self, model: nn.Module) -> None:
        """Pick what may be perturbed; the first `update_params` does so by itself.

        Raises:
            ValueError, TypeError, RuntimeError: as the class says.
        """
        if self.uses_counts and not getattr(model, 'bound', True):
            raise RuntimeError(f'{type(self).__name__} found no class counts in the model: keep '
                               'LongTailHook in default_hooks.')
        optimized = {id(p) for group in self.optimizer.param_groups for p in group['params']}
        chosen = [(name, p) for name, p in model.named_parameters()
                  if id(p) in optimized and self._fits(name, p)]
        if self._trainable() and not any(p.requires_grad for _, p in chosen):
            raise ValueError(f'{type(self).__name__}: include={self.include} and exclude='
                             f'{self.exclude} leave no trainable parameter to perturb.')
        low = [name for name, p in chosen if torch.finfo(p.dtype).bits < 32]
        if low:
            raise TypeError(f'{type(self).__name__}: {low[0]} is stored in '
                            f'{dict(chosen)[low[0]].dtype}, where small offsets vanish: keep '
                            "weights in float32 and set model.precision instead.")
        self._model, self._chosen = model, chosen

    @property
    def names(self) -> list[str]:
        """Names of `params`, in their order."""
        return [name for name, parameter in self._seen() if parameter.requires_grad]

    @property
    def params(self) -> list[nn.Parameter]:
        """What may be perturbed: trainable, in the optimizer, chosen by name; each tensor once.

        Raises:
            RuntimeError: before the first `update_params` or `choose`.
        """
        return [parameter for _, parameter in self._seen() if parameter.requires_grad]

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Add the gradient to `.grad`, scaled for accumulation and for float16."""
        self._scaled(loss).backward(**kwargs)

    def gradient(self, loss: Tensor, params: Sequence[Tensor] | None = None,
                 retain_graph: bool = False) -> list[Tensor | None]:
        """Gradients by `params`, unscaled; None where the loss does not depend on one.

        `.grad` is not touched.
        """
        params = self.params if params is None else params
        if not params:
            return []
        scaler = self.loss_scaler
        loss = loss if scaler is None else scaler.scale(loss)
        grads = list(torch.autograd.grad(loss, params, retain_graph=retain_graph,
                                         allow_unused=True))
        found = [grad for grad in grads if grad is not None]
        if scaler is not None and found:
            torch._foreach_mul_(found, 1 / scaler.scale(torch.ones_like(loss)))
        return grads

    def add_gradient(self, grads: Sequence[Tensor | None], weight: float | Tensor = 1.0,
                     params: Sequence[nn.Parameter] | None = None) -> None:
        """Add `weight * grads` to `.grad`, as `backward` would; `grads` are overwritten."""
        params, grads = _present(self.params if params is None else params, grads)
        if not params:
            return
        if not isinstance(weight, Tensor):
            weight = grads[0].new_full((), weight)
        torch._foreach_mul_(grads, self._scaled(weight.to(grads[0].dtype)))
        old = [(p.grad, grad) for p, grad in zip(params, grads) if p.grad is not None]
        for parameter, grad in zip(params, grads):
            if parameter.grad is None:
                parameter.grad = _laid_out_as(parameter, grad)
        if old:
            torch._foreach_add_(*map(list, zip(*old)))

    @contextmanager
    def perturbed(self, offsets: Sequence[Tensor | None], alpha: float = 1.0):
        """Inside, `params` are at params + alpha * offsets; then exactly where they were.

        Take the backward inside: a convolution saves the weight itself, not a copy. An offset of
        None leaves its parameter alone.
        """
        if self.displaced:
            raise RuntimeError('`perturbed` cannot be nested: add the offsets first.')
        params, offsets = _present(self.params, offsets)
        if not params:
            yield
            return
        kept = self._copy(params)
        self.displaced = True
        try:
            with torch.no_grad():
                torch._foreach_add_(params, offsets, alpha=alpha)
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(params, kept)
            self.displaced = False

    def noise(self, draw: Callable[[Tensor], None]) -> list[Tensor]:
        """One tensor for each of `params`, filled by `draw(flat)` all at once.

        The tensors are views of one buffer that the next call overwrites.
        """
        params = self.params
        if not params:
            return []
        ids, flat, views = self._flat
        if ids != [id(p) for p in params]:
            sizes = [p.numel() for p in params]
            flat = params[0].detach().new_empty(sum(sizes))
            # Laid out as the weights, which grouped operations need to be one kernel.
            views = [part.as_strided(p.shape, torch.empty_like(p).stride())
                     for part, p in zip(flat.split(sizes), params)]
            self._flat = [id(p) for p in params], flat, views
        draw(flat)
        return views

    def average(self, tensors: Sequence[Tensor | None],
                params: Sequence[nn.Parameter] | None = None) -> list[Tensor | None]:
        """Means over ranks of one tensor for each of `params`, in one collective.

        Tensors are overwritten. None counts as zero; what is None on every rank stays None.
        """
        params = self.params if params is None else params
        if get_world_size() == 1 or not params:
            return list(tensors)
        absent = any(tensor is None for tensor in tensors)
        whole = [torch.zeros_like(p) if tensor is None else tensor
                 for p, tensor in zip(params, tensors)]
        # Ranks may lack different ones: each says which it has, so that all send the same shapes.
        flags = whole[0].new_ones(len(whole)) if not absent else whole[0].new_tensor(
            [float(tensor is not None) for tensor in tensors])
        flat = torch.cat([*(tensor.reshape(-1) for tensor in whole), flags])
        all_reduce(flat, op='mean')
        torch._foreach_copy_(whole, _unflatten(flat, whole))
        if not absent:
            return whole
        used = (flat[-len(whole):] > 0).tolist()
        return [tensor if somewhere else None for tensor, somewhere in zip(whole, used)]

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """The optimizer's state, and the scaler's; copies and noise are no part of it."""
        if self.displaced:
            raise RuntimeError('A checkpoint inside `perturbed` would hold perturbed weights.')
        state = super().state_dict()
        if self.loss_scaler is not None:
            state['loss_scaler'] = self.loss_scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        state_dict = dict(state_dict)
        scale = state_dict.pop('loss_scaler', None)
        if scale and self.loss_scaler is not None:
            self.loss_scaler.load_state_dict(scale)
        super().load_state_dict(state_dict)

    # -- inside ---------------------------------------------------------------------------------

    def _scaler(self, loss_scale) -> torch.amp.GradScaler | None:
        self._constant_scale = None
        if loss_scale is None:
            return None
        if loss_scale == 'dynamic':
            arguments = {}
        elif isinstance(loss_scale, dict):
            arguments = loss_scale
        elif isinstance(loss_scale, (int, float)) and loss_scale > 0:
            self._constant_scale = float(loss_scale)
            arguments = dict(init_scale=self._constant_scale)
        else:
            raise ValueError(f'{type(self).__name__} got loss_scale={loss_scale!r}; use None, '
                             "'dynamic', a positive number or a dict for torch.amp.GradScaler.")
        device = self.optimizer.param_groups[0]['params'][0].device    # also where nothing trains
        return torch.amp.GradScaler(device.type, **arguments)

    def _scaled(self, loss: Tensor) -> Tensor:
        loss = self.scale_loss(loss)
        return loss if self.loss_scaler is None else self.loss_scaler.scale(loss)

    def _trainable(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group['params']
                if p.requires_grad]

    def _seen(self) -> list[tuple[str, nn.Parameter]]:
        if self._model is None:
            raise RuntimeError(f'{type(self).__name__} has not seen its model yet: `update_params` '
                               'shows it, or `choose(model)` before its tools are used alone.')
        return self._chosen

    def _check_gradient(self) -> None:
        trainable = self._trainable()
        if trainable and all(p.grad is None for p in trainable):
            raise RuntimeError(f'{type(self).__name__}.accumulate_grad has left no gradient, so '
                               'nothing would train: end it with backward or add_gradient.')

    def _fits(self, name: str, parameter: nn.Parameter) -> bool:
        if self.exclude_norm_bias and parameter.dim() <= 1:
            return False
        if self.include is not None and not any(re.search(p, name) for p in self.include):
            return False
        return not any(re.search(pattern, name) for pattern in self.exclude)

    def _copy(self, params: list[nn.Parameter]) -> list[Tensor]:
        ids, copies = self._copies
        if ids != [id(p) for p in params]:
            copies = [torch.empty_like(p, requires_grad=False) for p in params]
            self._copies = [id(p) for p in params], copies
        with torch.no_grad():
            torch._foreach_copy_(copies, params)
        return copies

    @contextmanager
    def _gradients_restored(self):
        """If the block raises, `.grad` is what it was before, and no half gradient is left.

        What earlier micro-batches have left is put aside and added at the end, instead of copied.
        """
        params = self._trainable()
        kept = [(p, p.grad) for p in params if p.grad is not None]
        for parameter, _ in kept:
            parameter.grad = None
        try:
            yield
        except BaseException:
            for parameter in params:
                parameter.grad = None
            for parameter, grad in kept:
                parameter.grad = grad
            raise
        new = [(grad, p.grad) for p, grad in kept if p.grad is not None]
        if new:
            torch._foreach_add_(*map(list, zip(*new)))
        for parameter, grad in kept:
            parameter.grad = grad

    def _average_grads(self) -> None:
        """The mean of `.grad` over ranks, where a rank without a gradient counts as zero.

        A parameter that no rank has used stays without one, so that weight decay leaves it alone.
        """
        params = self._trainable()
        if get_world_size() == 1 or not params:
            return
        for parameter, grad in zip(params, self.average([p.grad for p in params], params)):
            if parameter.grad is None:
                parameter.grad = grad


def total_norm(tensors: Sequence[Tensor | None]) -> Tensor:
    """The Euclidean norm of all tensors together."""
    tensors = [tensor for tensor in tensors if tensor is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def rescale(tensors: Sequence[Tensor | None], norm: float) -> list[Tensor | None]:
    """Tensors of the given common norm in the same direction; zeros stay zeros."""
    present = [tensor for tensor in tensors if tensor is not None]
    if not present:
        return list(tensors)
    factor = norm / (total_norm(present) + 1e-12)
    scaled = iter(torch._foreach_mul(present, factor))
    return [None if tensor is None else next(scaled) for tensor in tensors]


def check_radius(name: str, rho: float | Sequence[Sequence[float]]) -> None:
    """ValueError unless `rho` is a number of at least 0, or (epoch, number) pairs from epoch 0 on."""
    if isinstance(rho, (int, float)):
        fine = rho >= 0
    else:
        fine = (bool(rho) and rho[0][0] == 0 and all(number >= 0 for _, number in rho)
                and all(a[0] < b[0] for a, b in zip(rho, rho[1:])))
    if not fine:
        raise ValueError(f'{name} got rho={rho}; use a number of at least 0, or pairs of epoch and '
                         'number such as [(0, 0.05), (60, 0.5)].')


def _present(params: Sequence, tensors: Sequence) -> tuple[list, list]:
    pairs = [(p, tensor) for p, tensor in zip(params, tensors) if tensor is not None]
    return [p for p, _ in pairs], [tensor for _, tensor in pairs]


def _laid_out_as(parameter: Tensor, grad: Tensor) -> Tensor:
    """The gradient with the strides of its parameter, as `backward` leaves it for fused kernels."""
    strides = zip(grad.shape, grad.stride(), parameter.stride())
    if all(size == 1 or own == wanted for size, own, wanted in strides):
        return grad
    return torch.empty_like(parameter).copy_(grad)


def _unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    sizes = [tensor.numel() for tensor in like]
    parts = flat[:sum(sizes)].split(sizes)
    return [part.view(tensor.shape) for part, tensor in zip(parts, like)]
