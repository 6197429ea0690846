"""Starting and ending the process group, and the folders that its processes share."""

import os
import tempfile
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from mmengine.dist import (all_gather_object, barrier, broadcast_object_list, get_world_size,
                           init_dist, is_main_process)


@contextmanager
def setup_distributed(launcher: str = 'none', timeout: int | None = None):
    """The process group of a run: nccl on GPUs, gloo on machines without one.

    mmengine's own start-up always asks for CUDA; it leaves a group alone that exists already.

    Args:
        timeout: the seconds that ranks wait for each other; None: PyTorch's own.
    """
    started = launcher != 'none' and not torch.distributed.is_initialized()
    if started:
        if torch.cuda.is_available():
            init_dist(launcher, backend='nccl', timeout=timeout)
        elif launcher == 'pytorch':
            torch.distributed.init_process_group('gloo', timeout=timeout and timedelta(0, timeout))
        else:
            raise ValueError(f"--launcher {launcher} needs GPUs; on CPUs use --launcher pytorch.")
    try:
        yield
        if started:
            # A group that ends on one rank earlier than on another makes the other abort. After an
            # error there is nobody to wait for: the other ranks may be anywhere.
            barrier()
    finally:
        if started:
            end_group()


def end_group() -> None:
    """Leave the process group.

    The threads of gloo need the interpreter lock for the last tensors they let go of, and PyTorch
    2.4 ends them while it holds the lock: without the pause a run on a busy machine may never end.
    """
    time.sleep(0.1)
    torch.distributed.destroy_process_group()


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None):
    """A folder of the first rank, for all ranks; it is gone when all have left.

    Args:
        parent: where it is made, a folder that all machines share; None: where the system likes.
    """
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as folder:
        found = [folder]
        broadcast_object_list(found)
        yield Path(found[0])
        barrier()


def check_shared(folder: Path) -> None:
    """Whether all ranks see what the first one writes to `folder`.

    Raises:
        ValueError: on all ranks, if one of them does not.
    """
    if get_world_size() == 1:
        return
    found = [None]
    if is_main_process():
        handle, name = tempfile.mkstemp(prefix='.shared-', dir=folder)
        os.close(handle)
        found = [Path(name).name]
    broadcast_object_list(found)
    seen = all_gather_object((folder / found[0]).is_file())
    if is_main_process():
        (folder / found[0]).unlink()
    if not all(seen):
        raise ValueError(f'Process {seen.index(False)} does not see what the first one writes to '
                         f'{folder}: give a --work-dir that all machines share.')
