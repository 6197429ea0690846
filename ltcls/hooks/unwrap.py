"""The model inside the wrapper for several ranks."""

from mmengine.model import is_model_wrapper
from torch import nn


def bare(model: nn.Module) -> nn.Module:
    """The classifier itself, of a wrapped or a bare one."""
    return model.module if is_model_wrapper(model) else model
