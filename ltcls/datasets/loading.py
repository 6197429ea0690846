"""How a loader puts a batch together, and how its workers are seeded."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from ltcls.registry import FUNCTIONS


@FUNCTIONS.register_module()
def collate_batch(batch) -> dict[str, Tensor]:
    """A batch from the loader's list of samples; a batch that was fetched whole stays as it is."""
    return batch if isinstance(batch, dict) else default_collate(batch)


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed numpy in a worker from torch's seed for it, which is new in every epoch and rank."""
    np.random.seed(get_worker_info().seed % 2 ** 32)
    torch.set_num_threads(1)
