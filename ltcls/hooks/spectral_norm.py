"""Spectral normalisation of chosen parts of the model."""

from typing import Sequence

from mmengine.hooks import EMAHook, Hook
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from ltcls.registry import HOOKS

from .unwrap import bare

MARK = '.parametrizations.'


@HOOKS.register_module()
class SpectralNormHook(Hook):
    """Every trained weight matrix and kernel is divided by its largest singular value.

    torch's `spectral_norm`, with one power iteration a training pass. Checkpoints hold the divided
    weights under their plain names, so that tests and later stages need not know; what training
    needs to resume is beside them. Rows of a cosine head are normalised anyway, and a convolution
    before batch norm keeps its function: there it changes the course of training alone.

    Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018, Sec. 2.

    Args:
        parts: parts of the model by path.
        iterations: power iterations a training pass.

    Raises:
        ValueError: parts without a weight that trains; or mmengine's `EMAHook` beside it.
    """

    priority = 'VERY_HIGH'

    def __init__(self, parts: Sequence[str] = ('backbone', 'head'), iterations: int = 1):
        self.parts = tuple(parts)
        self.iterations = iterations

    def before_run(self, runner) -> None:
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError('SpectralNormHook changes the names that EMAHook averages by: use '
                             'SWAHook instead of EMAHook.')
        # Parameters stay the objects that the optimizer knows. A test after training comes by
        # here once more.
        model = bare(runner.model)
        modules = [module for part in self.parts for module in model.get_submodule(part).modules()]
        if any(parametrize.is_parametrized(module) for module in modules):
            return
        chosen = [module for module in modules if _has_trained_matrix(module)]
        if not chosen:
            raise ValueError(f'SpectralNormHook got parts={list(self.parts)}, which hold no weight '
                             'that trains.')
        for module in chosen:
            parametrizations.spectral_norm(module, n_power_iterations=self.iterations)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        model = bare(runner.model)
        state = checkpoint['state_dict']
        checkpoint['spectral_norm'] = {name: state.pop(name) for name in list(state)
                                       if MARK in name}
        training = model.training
        model.eval()                  # so that looking at a weight iterates nothing
        for name, module in model.named_modules():
            if parametrize.is_parametrized(module, 'weight'):
                state[f'{name}.weight'] = module.weight.detach().clone()
        model.train(training)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if 'spectral_norm' in checkpoint:
            kept, state = checkpoint['spectral_norm'], checkpoint['state_dict']
            for name in kept:
                state.pop(f'{name.split(MARK)[0]}.weight', None)
            state.update(kept)


def _has_trained_matrix(module: nn.Module) -> bool:
    weight = module._parameters.get('weight')
    return weight is not None and weight.requires_grad and weight.dim() > 1
