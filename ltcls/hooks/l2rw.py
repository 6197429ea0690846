"""Learning to reweight: all of a sample's weight is learned, anew in each batch."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from ltcls.registry import HOOKS

from .meta_gradient import MetaGradient
from .sample_weights import SampleWeightHook


@HOOKS.register_module()
class L2RWHook(SampleWeightHook):
    """A sample weighs what a step along its own gradient would take off the development loss.

    w_i = max(-dL_D / dw_i, 0) at w = 0, divided by the sum over the batch; the batch loss is the
    sum of w_i loss_i. At w = 0 the virtual step stays where it is, so that only the direction of
    each sample's gradient against that of the development loss counts. A batch in which no sample
    helps has weight 0.

    Ren et al., Learning to Reweight Examples for Robust Deep Learning, ICML 2018, Algorithm 1.

    Args:
        begin: first epoch with these weights, counted from 0.
        options: see `SampleWeightHook`.
    """

    asks_for_losses = False

    def sample_weights(self, problem: MetaGradient) -> tuple[Tensor, dict[str, Tensor]]:
        weights = shares_of_help(problem.gradient(None), problem.ranks)
        return weights, dict(unused=(weights == 0).float().mean(), largest=weights.max())


def shares_of_help(slopes: Tensor, ranks: int = 1) -> Tensor:
    """max(-slope, 0) of slopes [B] over the sum, times the samples: weights for a mean [B].

    On several ranks the sum and the samples are those of all of them.
    """
    helpful = (-slopes).clamp(min=0)
    total = helpful.sum()
    if ranks > 1:
        all_reduce(total, op='sum')
    return helpful / total.clamp(min=torch.finfo(total.dtype).tiny) * len(helpful) * ranks
