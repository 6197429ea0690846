from .causal_norm import CausalNormHead
from .cosine import CosineHead
from .disalign import CosineDisAlignHead, DisAlignHead
from .experts import ExpertHead
from .linear import LinearHead
from .logit_adjusted import CosineLogitAdjustedHead, LogitAdjustedHead
from .lws import CosineLWSHead, LWSHead
from .ncm import NCMHead
from .tau_norm import TauNormHead

__all__ = ['CausalNormHead', 'CosineDisAlignHead', 'CosineHead', 'CosineLWSHead',
           'CosineLogitAdjustedHead', 'DisAlignHead', 'ExpertHead', 'LWSHead', 'LinearHead',
           'LogitAdjustedHead', 'NCMHead', 'TauNormHead']
