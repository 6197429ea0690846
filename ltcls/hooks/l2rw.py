"""Learning to reweight: all of a sample's weight is learned, anew in each batch."""

import torch
from mmengine.dist import all_reduce, get_world_size
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
        helpful = (-problem.gradient(None)).clamp(min=0)
        total = helpful.sum()
        if get_world_size() > 1:
            all_reduce(total, op='sum')
        # The step takes the mean over the batches of all ranks, the method the sum.
        samples = len(helpful) * get_world_size()
        tiny = torch.finfo(total.dtype).tiny
        weights = helpful / total.clamp(min=tiny) * samples
        return weights, dict(unused=(weights == 0).float().mean(), largest=weights.max())
