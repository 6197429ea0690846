"""LWS: learnable scales of a trained classifier."""

import torch
from torch import Tensor, nn

from ltcls.registry import MODELS

from .cosine import CosineHead
from .linear import LinearHead


@MODELS.register_module()
class LWSHead(LinearHead):
    """One learned scale a class over a trained linear classifier: scales * (weight @ x + bias).

    The scales start at 1. Weight and bias, from an earlier stage, stay as they are. Weight decay
    would pull the scales to 0 rather than to 1.

    Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020,
    Sec. 4. As in the authors' code the bias is scaled too. MiSLAS (Zhong et al., CVPR 2021) trains
    the weight along with the scales, at a small learning rate: `trainable_fc=True`.

    Args:
        trainable_fc: train weight and bias too.
        num_features, num_classes, bias, init, bias_init: as in `LinearHead`.
    """

    def __init__(self, num_features: int, num_classes: int, bias: bool = True,
                 trainable_fc: bool = False, init: str = 'kaiming',
                 bias_init: float | str | None = None):
        super().__init__(num_features, num_classes, bias=bias, init=init, bias_init=bias_init)
        self.scales = nn.Parameter(torch.ones(num_classes))
        self.weight.requires_grad_(trainable_fc)
        if self.bias is not None:
            self.bias.requires_grad_(trainable_fc)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C]."""
        return self.scales * super().forward(features)


@MODELS.register_module()
class CosineLWSHead(CosineHead):
    """One learned scale a class over a trained cosine classifier: scales * scale * cosines.

    `LWSHead` for the classifier of GCL and LDAM.

    Args:
        trainable_fc: train the rows too.
        num_features, num_classes, scale: as in `CosineHead`.
    """

    def __init__(self, num_features: int, num_classes: int, scale: float = 30.0,
                 trainable_fc: bool = False):
        super().__init__(num_features, num_classes, scale=scale)
        self.scales = nn.Parameter(torch.ones(num_classes))
        self.weight.requires_grad_(trainable_fc)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C], float32."""
        return self.scales * super().forward(features)
