"""Activations that are computed anew in the backward pass instead of being kept for it."""

from contextlib import contextmanager
from typing import Sequence

from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed(model: nn.Module, names: Sequence[str]):
    """Inside, the submodules of these names keep no activations for backward.

    Backward runs each of them a second time on its input, with the random numbers, the parameters
    and the buffers of the first, also where `functional_call` had replaced these for the forward
    pass alone. Gradients are the same, and buffers move once.
    """
    modules = [model.get_submodule(name) for name in names]
    before = [vars(module).get('forward') for module in modules]
    try:
        for module in modules:
            module.forward = _recomputed(module)
        yield
    finally:
        for module, forward in zip(modules, before):
            vars(module).pop('forward', None)
            if forward is not None:
                module.forward = forward


def _recomputed(module: nn.Module):
    body = _Body(module)

    def forward(*inputs: Tensor):
        parameters, given = dict(body.named_parameters()), len(inputs)
        to_move = [dict(body.named_buffers())]
        kept = _copies(to_move[0])

        def run(*tensors: Tensor):
            buffers = to_move.pop() if to_move else _copies(kept)
            return functional_call(body, {**buffers, **dict(zip(parameters, tensors[given:]))},
                                   tensors[:given])

        return checkpoint(run, *inputs, *parameters.values(), use_reentrant=False)
    return forward


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


class _Body(nn.Module):
    """A module's own forward, whatever its instance has been given instead."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module, self.own = module, module.forward

    def forward(self, *inputs: Tensor):
        return self.own(*inputs)
