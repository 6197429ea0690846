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
    'whole': (lambda: MetaReweightHook(begin=0, learned='whole'), OptimWrapper),
    'meta_weight_net': (weight_net, OptimWrapper),
    'meta_weight_net-imbalance': (lambda: weight_net(variant='imbalance', lr=0.1), OptimWrapper),
    'sam': (lambda: MetaReweightHook(begin=0, tau=10.0),
            lambda optimizer: SAM(optimizer, sync_ascent=True)),
}


OWN = {
    'meta_reweight': lambda: MetaReweightHook(begin=0, tau=10.0, per_rank=True),
    'mean': lambda: MetaReweightHook(begin=0, tau=10.0, virtual_reduction='mean', per_rank=True),
    'l2rw': lambda: L2RWHook(per_rank=True),
    'meta_weight_net': lambda: weight_net(per_rank=True, lr=0.0),
    'imbalance': lambda: weight_net(per_rank=True, variant='imbalance', lr=0.0),
    'stepped': lambda: weight_net(per_rank=True),
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
    if 'net' in name:
        found['net'] = state(hook.net)
    return found


def first_weights(name, rank, half):
    """The weights of the first step from this half alone, by ranks that do not share it."""
    model, hook = classifier(norm=False), OWN[name]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped = model if rank is None else DistributedClassifier(model)
    return dict(weights=run(hook, wrapped, OptimWrapper(optimizer), rank=half),
                net=state(hook.net) if hasattr(hook, 'net') else {})


def begun_net(rank):
    """The weight net as training begins, of a rank that has drawn one of its own."""
    model = classifier()
    torch.manual_seed(rank)
    hook = MetaWeightNetHook(hidden=3)
    hook.prepare(model, None)
    return state(hook.net)


def scenes(rank: int) -> dict:
    return {'begun': begun_net(rank), **{name: scene(name, rank) for name in METHODS},
            **{f'{name} alone': first_weights(name, rank, rank) for name in OWN}}


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
    if 'net' in name:
        for found in ranks:
            assert_close(found[name]['net'], alone['net'], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize('name', [name for name in OWN if name != 'stepped'])
def test_a_rank_can_learn_from_a_virtual_step_of_its_own(ranks, name):
    for half, found in enumerate(ranks):
        expected = first_weights(name, None, half)['weights']
        assert_close(found[f'{name} alone']['weights'], expected, atol=1e-6, rtol=1e-4)


def test_the_weight_net_stays_the_same_on_ranks_that_learn_apart(ranks):
    one, other = (found['stepped alone']['net'] for found in ranks)
    assert_close(one, other, atol=0, rtol=0)
    assert not torch.equal(one['0.weight'], begun_net(4)['0.weight'])
