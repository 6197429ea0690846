"""The plain linear classifier."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltcls.longtail import LongTailModule
from ltcls.registry import MODELS


@MODELS.register_module()
class LinearHead(LongTailModule):
    """Logits weight @ features + bias.

    Args:
        num_features: D.
        num_classes: C.
        bias: whether there is one.
        init: 'kaiming' draws the weight from a normal distribution with variance 2 / D (He et al.,
            ICCV 2015), as the long-tailed CIFAR code does; 'torch' is the uniform draw of
            `nn.Linear`, which ImageNet code leaves in place; 'normal' draws from a normal
            distribution of standard deviation 0.02, as prompt tuning does.
        bias_init: a number; 'prior' for -log(C - 1), which gives each class of a sigmoid loss the
            probability 1 / C at the start; or None for the uniform draw of `nn.Linear`.

    Raises:
        ValueError: an unknown init or bias_init, or a bias_init without a bias.
    """

    scale: float = 1.0
    linear = True      # logits are weight @ features + bias; each class says so for itself

    def __init__(self, num_features: int, num_classes: int, bias: bool = True,
                 init: str = 'kaiming', bias_init: float | str | None = None):
        super().__init__()
        if init not in ('kaiming', 'torch', 'normal'):
            raise ValueError(f"LinearHead got init='{init}'; use 'kaiming', 'torch' or 'normal'.")
        if isinstance(bias_init, str) and bias_init != 'prior':
            raise ValueError(f"LinearHead got bias_init='{bias_init}'; use a number or 'prior'.")
        if bias_init is not None and not bias:
            raise ValueError(f'LinearHead got bias_init={bias_init!r} and bias=False; '
                             'give it a bias or drop bias_init.')
        self.init = init
        self.bias_init = bias_init
        self.weight = nn.Parameter(torch.empty(num_classes, num_features))
        self.register_parameter('bias', nn.Parameter(torch.empty(num_classes)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        num_classes, num_features = self.weight.shape
        bound = num_features ** -0.5
        if self.init == 'kaiming':
            nn.init.kaiming_normal_(self.weight)
        elif self.init == 'normal':
            nn.init.trunc_normal_(self.weight, std=0.02)
        else:
            nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is None:
            return
        if self.bias_init is None:
            nn.init.uniform_(self.bias, -bound, bound)
        else:
            prior = -math.log(max(num_classes - 1, 1))
            nn.init.constant_(self.bias, prior if self.bias_init == 'prior' else self.bias_init)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C]."""
        return F.linear(features, self.weight, self.bias)
