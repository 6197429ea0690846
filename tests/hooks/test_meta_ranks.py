"""Learned sample weights on two ranks: those of one process that has both halves of the batch."""

import os
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from meta_toys import classifier, run, state
from mmengine.optim import OptimWrapper
from torch.testing import assert_close

from ltcls.hooks import L2RWHook, MetaReweightHook, MetaWeightNetHook
from ltcls.models import DistributedClassifier
from ltcls.optim_wrappers import SAM, PerturbedOptimWrapper


def weight_net(**options):
    torch.manual_seed(4)
    return MetaWeightNetHook(**options)


METHODS = {
    'sum': (lambda: MetaReweightHook(begin=0, tau=10.0), OptimWrapper),
    'mean': (lambda: MetaReweightHook(begin=0, tau=10.0, virtual_reduction='mean'),
             PerturbedOptimWrapper),
    'l2rw': (L2RWHook, OptimWrapper),
    'meta_weight_net': (weight_net, OptimWrapper),
    'sam': (lambda: MetaReweightHook(begin=0, tau=10.0),
            lambda optimizer: SAM(optimizer, sync_ascent=True)),
}


def scene(name, rank=None):
    """Two steps without batch norm, whose statistics would be those of a half."""
    method, wrapper = METHODS[name]
    model = classifier(norm=False)
    hook = method()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wrapped = model if rank is None else DistributedClassifier(model)
    weights = run(hook, wrapped, wrapper(optimizer), steps=2, rank=rank)
    found = dict(weights=weights, model=state(model))
    if name == 'meta_weight_net':
        found['net'] = state(hook.net)
    return found


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=str(rank))
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    torch.save({name: scene(name, rank) for name in METHODS}, f'{folder}/rank{rank}.pth')
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp('ranks'))
    here = str(Path(__file__).parent)
    paths = os.environ.get('PYTHONPATH', '')
    os.environ['PYTHONPATH'] = os.pathsep.join([here, str(Path(here).parents[1]), paths])
    if here not in sys.path:
        sys.path.insert(0, here)
    torch.multiprocessing.spawn(work, args=(folder,), nprocs=2)
    os.environ['PYTHONPATH'] = paths
    return [torch.load(f'{folder}/rank{rank}.pth') for rank in range(2)]


@pytest.mark.parametrize('name', METHODS)
def test_two_halves_are_weighed_and_trained_like_the_whole(ranks, name):
    alone = scene(name)
    assert alone['weights'].std() > 1e-3
    together = torch.cat([found[name]['weights'] for found in ranks])
    assert_close(together, alone['weights'], atol=1e-6, rtol=1e-4)
    for found in ranks:
        assert_close(found[name]['model'], alone['model'], atol=1e-6, rtol=1e-4)
    if name == 'meta_weight_net':
        for found in ranks:
            assert_close(found[name]['net'], alone['net'], atol=1e-6, rtol=1e-4)
