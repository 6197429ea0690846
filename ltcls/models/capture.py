"""The backbone as one compiled program or as CUDA graphs."""

import torch
from torch import Tensor, nn

VARIANTS = 64       # of one forward: stages, training and testing, last batches, SAM's passes


def capture(backbone: nn.Module, compile: bool | str, cuda_graphs: bool) -> bool:
    """Capture the forward and backward of a backbone, in place; whether anything was captured.

    The module, its parameters and its state dict stay what they are; only calling it takes another
    path. What depends on Python state, such as training mode or batch norm that must not move, is
    guarded: a change compiles once more. Each shape of a batch is compiled on its own.

    Args:
        compile: True for inductor, or the name of another backend of `torch.compile`.
        cuda_graphs: replay the kernels of a pass as one CUDA graph, with or without `compile`.

    Raises:
        ValueError: CUDA graphs without a GPU, or with a backend that has none; a torch that does
            not notice when batch norm is held still.
    """
    if not compile and not cuda_graphs:
        return False
    check_torch(torch.__version__)
    if cuda_graphs and not torch.cuda.is_available():
        raise ValueError('model.cuda_graphs=True needs a CUDA device, and this machine has none: '
                         'set it to False.')
    if cuda_graphs and compile not in (True, False, 'inductor'):
        raise ValueError(f"model.compile='{compile}' has no CUDA graphs: set model.compile to True "
                         'or False, or model.cuda_graphs to False.')
    if not compile:
        options = dict(backend='cudagraphs')
    elif cuda_graphs:
        options = dict(mode='reduce-overhead')
    else:
        options = dict(backend='inductor' if compile is True else compile)
    # Beyond its limit, 8, torch runs further variants uncompiled.
    limits = torch._dynamo.config
    limits.cache_size_limit = max(limits.cache_size_limit, VARIANTS)
    # `bool` and sizes of a batch are guarded one by one; symbolic sizes exclude CUDA graphs.
    backbone.compile(dynamic=False, **options)
    return True


def check_torch(version: str) -> None:
    """Refuse a torch below 2.5, whose programs go on moving batch norm that is held still."""
    if tuple(map(int, version.split('.')[:2])) < (2, 5):
        raise ValueError(f'model.compile and model.cuda_graphs need torch 2.5 or newer, this is '
                         f'{version}: set both to False.')


def own_gradients(backbone: nn.Module) -> None:
    """Have gradients leave a replayed backward as copies.

    They lie in the memory of the CUDA graph, which the next forward uses again: before the step,
    under gradient accumulation and where a step has several passes.
    """
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.register_hook(_own)


def _own(grad: Tensor | None) -> Tensor | None:
    return None if grad is None else grad.clone()       # None where the pass has not used a weight


def check_capture(model: nn.Module, optim_wrapper) -> None:
    """Refuse an optim wrapper that cannot work on a captured backbone.

    Raises:
        ValueError: which one, and the remedy.
    """
    if model.captured and not getattr(optim_wrapper, 'capturable', True):
        raise ValueError(
            f'{type(optim_wrapper).__name__} with these arguments cannot work on a compiled '
            'backbone: set model.compile and model.cuda_graphs to False.')
