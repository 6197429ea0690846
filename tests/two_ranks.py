"""A test's own function on two ranks, in processes of their own that meet over gloo."""

import inspect
import os
import sys
from pathlib import Path
from typing import Callable

import torch
import torch.multiprocessing

from ltcls.engine.distributed import end_group


def on_two_ranks(scenes: Callable[[int], dict], folder: str | Path) -> list[dict]:
    """What `scenes(rank)`, a function of a test module, returns on rank 0 and on rank 1."""
    here, tests = Path(inspect.getfile(scenes)).parent, Path(__file__).parent
    paths = os.environ.get('PYTHONPATH', '')
    os.environ['PYTHONPATH'] = os.pathsep.join(map(str, [here, tests, tests.parent, paths]))
    if str(here) not in sys.path:
        sys.path.insert(0, str(here))
    torch.multiprocessing.spawn(_work, args=(scenes, str(folder)), nprocs=2)
    os.environ['PYTHONPATH'] = paths
    return [torch.load(f'{folder}/rank{rank}.pth') for rank in range(2)]


def _work(rank: int, scenes: Callable[[int], dict], folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=str(rank))
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    torch.save(scenes(rank), f'{folder}/rank{rank}.pth')
    torch.distributed.barrier()
    end_group()
