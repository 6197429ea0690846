"""Random numbers that depend on the epoch alone, so that a resumed run draws the same ones."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ltcls.registry import HOOKS


def epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """A 32-bit seed that differs for every seed, epoch and rank."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds torch, numpy and random at the start of each epoch from (seed, epoch, rank).

    What was drawn before, by validation for instance, then leaves no trace, and a run that resumes
    at an epoch boundary continues as if it had never stopped. Loader workers take their seeds from
    torch's generator and follow.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner) -> None:
        seed = epoch_seed(runner.seed, runner.epoch, get_rank())
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
