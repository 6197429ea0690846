"""The cosine classifier."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltcls.longtail import LongTailModule
from ltcls.registry import MODELS


@MODELS.register_module()
class CosineHead(LongTailModule):
    """Logits scale * cos(features, weight row), without a bias.

    Cosines are computed in float32 whatever the precision around them: at scale 30 half precision
    tells logits apart only to about 0.016.

    Args:
        num_features: D.
        num_classes: C.
        scale: what the cosines are multiplied by; margin losses read it as `logit_scale`.
        init: 'unit' draws rows uniform in [-1, 1] and scales them to unit length, as the code of
            LDAM (Cao et al., NeurIPS 2019) and GCL (Li et al., CVPR 2022) does; 'normal' draws from
            a normal distribution of standard deviation 0.02, as prompt tuning does. The length
            matters: shorter rows turn faster at the same learning rate.

    Raises:
        ValueError: a scale that is not positive, or an unknown init.
    """

    def __init__(self, num_features: int, num_classes: int, scale: float = 30.0,
                 init: str = 'unit'):
        super().__init__()
        if scale <= 0:
            raise ValueError(f'{type(self).__name__} got scale={scale}; a cosine logit needs a '
                             'positive scale, e.g. 30.')
        if init not in ('unit', 'normal'):
            raise ValueError(f"{type(self).__name__} got init='{init}'; use 'unit' or 'normal'.")
        self.init = init
        self.scale = float(scale)
        self.weight = nn.Parameter(torch.empty(num_classes, num_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the rows anew."""
        if self.init == 'normal':
            nn.init.trunc_normal_(self.weight, std=0.02)
            return
        nn.init.uniform_(self.weight, -1, 1)
        with torch.no_grad():
            self.weight.copy_(F.normalize(self.weight))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, D] -> logits [B, C], float32 (float64 for float64 features)."""
        with torch.autocast(features.device.type, enabled=False):
            cosines = F.linear(normalise(features), normalise(self.weight))
            return self.scale * cosines


def normalise(vectors: Tensor) -> Tensor:
    """Rows of [N, D] at unit length, in float32 at least."""
    return F.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)))
