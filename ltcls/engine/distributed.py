"""Starting and ending the process group."""

from contextlib import contextmanager

import torch
from mmengine.dist import barrier, init_dist


@contextmanager
def setup_distributed(launcher: str = 'none'):
    """The process group of a run: nccl on GPUs, gloo on machines without one.

    mmengine's own start-up always asks for CUDA; it leaves a group alone that exists already.
    """
    started = launcher != 'none' and not torch.distributed.is_initialized()
    if started:
        if torch.cuda.is_available():
            init_dist(launcher, backend='nccl')
        elif launcher == 'pytorch':
            torch.distributed.init_process_group('gloo')
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
            torch.distributed.destroy_process_group()
