from .cosine import CosineHead
from .linear import LinearHead
from .logit_adjusted import CosineLogitAdjustedHead, LogitAdjustedHead
from .lws import CosineLWSHead, LWSHead
from .ncm import NCMHead
from .tau_norm import TauNormHead

__all__ = ['CosineHead', 'CosineLWSHead', 'CosineLogitAdjustedHead', 'LWSHead', 'LinearHead',
           'LogitAdjustedHead', 'NCMHead', 'TauNormHead']
