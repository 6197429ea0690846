"""How the workers of a loader are seeded."""

import numpy as np
import torch
from torch.utils.data import get_worker_info

from ltcls.registry import FUNCTIONS


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed numpy in a worker from torch's seed for it, which is new in every epoch and rank."""
    np.random.seed(get_worker_info().seed % 2 ** 32)
    torch.set_num_threads(1)
