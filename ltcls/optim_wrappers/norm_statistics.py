"""Evaluations that leave buffers where they are, and batch norm with the statistics of another pass."""

from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def still_buffers(model: nn.Module):
    """Evaluations inside leave every buffer of `model` as it is, also when they raise.

    Batch norm still normalises by the batch. Setting its momentum to 0 would not do: the counter
    of batches would go on, and with it an average over all batches (momentum=None). Any other
    module in training mode works on copies of its buffers. Nothing is written into a tensor that
    an earlier pass has saved for its backward.
    """
    norms, kept = [], []
    try:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                if module.training and module.track_running_stats:
                    module.track_running_stats = False
                    norms.append(module)
            elif module.training:
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        kept.append((module._buffers, name, buffer))
        for buffers, name, buffer in kept:
            buffers[name] = buffer.clone()
        yield
    finally:
        for module in norms:
            module.track_running_stats = True
        for buffers, name, buffer in kept:
            buffers[name] = buffer


PLAIN = (_BatchNorm.forward, nn.SyncBatchNorm.forward)


class BatchStatistics:
    """Means and variances of one pass, for other passes over parts of the same batch.

    A part of a batch has other statistics than the batch; normalised by those of the whole batch,
    its features are what they were there. The recorded statistics can carry gradient back to the
    pass that they come from: `roots` are part of its graph, `leaves` collect the gradient.

    Raises:
        ValueError: a batch norm in training mode that does more than torch's and timm's.
    """

    def __init__(self, model: nn.Module):
        self.norms = [module for module in model.modules()
                      if isinstance(module, _BatchNorm) and module.training]
        for module in self.norms:
            if type(module).forward not in PLAIN and not hasattr(module, 'act'):
                raise ValueError(f'{type(module).__name__} is a batch norm with a forward of its '
                                 "own, which CCSAM cannot replace: use CCSAM(perturb='head').")
        self.roots: list[Tensor] = []
        self.leaves: list[Tensor] = []

    @contextmanager
    def record(self):
        """Forward passes inside are recorded."""
        self._found: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        hooks = [module.register_forward_pre_hook(self._measure) for module in self.norms]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self.norms = list(self._found)
        self.roots = [value for pair in self._found.values() for value in pair]
        self.leaves = [value.detach().requires_grad_() for value in self.roots]

    def _measure(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        if module in self._found:
            raise RuntimeError('A batch norm that runs twice in one pass has no single statistics: '
                               "use CCSAM(perturb='head').")
        values = inputs[0].to(torch.promote_types(inputs[0].dtype, torch.float32))
        axes = [axis for axis in range(values.dim()) if axis != 1]
        variance, mean = torch.var_mean(values, dim=axes, correction=0)
        self._found[module] = mean, variance

    @contextmanager
    def used(self, fixed: bool = False):
        """Forward passes inside normalise by the recorded statistics; `fixed`: without gradient."""
        try:
            for number, module in enumerate(self.norms):
                mean, variance = self.leaves[2 * number:2 * number + 2]
                if fixed:
                    mean, variance = mean.detach(), variance.detach()
                module.forward = partial(_normalise, module, mean, variance)
            yield
        finally:
            for module in self.norms:
                vars(module).pop('forward', None)


def _normalise(module: nn.Module, mean: Tensor, variance: Tensor, inputs: Tensor) -> Tensor:
    shape = (1, -1) + (1,) * (inputs.dim() - 2)
    scale = torch.rsqrt(variance + module.eps)
    shift = -mean * scale
    if module.affine:
        scale, shift = scale * module.weight, shift * module.weight + module.bias
    found = torch.addcmul(shift.view(shape), inputs, scale.view(shape)).to(inputs.dtype)
    # timm's batch norms hold the activation that follows.
    return module.act(module.drop(found)) if hasattr(module, 'act') else found
