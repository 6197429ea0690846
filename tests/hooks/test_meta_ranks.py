"""Learned sample weights on two ranks: those of one process that has both halves of the batch."""

import pytest
import torch
from meta_toys import classifier, run, state
from mmengine.optim import OptimWrapper
from torch.testing import assert_close
from two_ranks import on_two_ranks

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


def begun_net(rank):
    """The weight net as training begins, of a rank that has drawn one of its own."""
    model = classifier()
    torch.manual_seed(rank)
    hook = MetaWeightNetHook(hidden=3)
    hook.prepare(model, None)
    return state(hook.net)


def scenes(rank: int) -> dict:
    return {'begun': begun_net(rank), **{name: scene(name, rank) for name in METHODS}}


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return on_two_ranks(scenes, tmp_path_factory.mktemp('ranks'))


def test_all_ranks_begin_with_the_weight_net_of_the_first(ranks):
    for found in ranks:
        assert_close(found['begun'], begun_net(0), atol=0, rtol=0)


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
