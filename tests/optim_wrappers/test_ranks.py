"""Perturbed steps on two ranks: equal weights, one collective a step, the ascent, the noise."""

import pytest
import torch
from mmengine import dist
from mmengine.optim import OptimWrapper
from perturbed_toys import FunctionModel, batch, classifier, objective, quadratic, rows, sgd, state
from torch.testing import assert_close
from two_ranks import on_two_ranks

from ltcls.models import DistributedClassifier
from ltcls.optim_wrappers import (CCSAM, GNM, SAM, GradientNormPenalty, ImbSAM, ModelPerturbation,
                                  PerturbedOptimWrapper, perturbed)

METHODS = {
    'SAM': (SAM, dict(rho=0.1)), 'SAM-synced': (SAM, dict(rho=0.1, sync_ascent=True)),
    'ImbSAM': (ImbSAM, dict(rho=0.1, threshold=15)), 'GNM': (GNM, dict(rho=0.1)),
    'GNM-same': (GNM, dict(rho=0.1, same_on_ranks=True)), 'CCSAM': (CCSAM, dict(mix=0.5)),
    'CCSAM-synced': (CCSAM, dict(mix=0.5, sync_classes=True)),
    'CCSAM-all': (CCSAM, dict(perturb='all', radius=0.1)),
    'GradientNormPenalty': (GradientNormPenalty, {}),
    'ModelPerturbation': (ModelPerturbation, dict(std_weight=0.5))}

# What two ranks do with a half of each batch as a single process does with the whole of it.
WHOLE = {f'whole-{n}': dict(options, sync_classes=True) for n, options in enumerate((
    dict(radius=0.3), dict(mix=0.4, radius=0.3, param_norm='tensor', grad_norm='tensor'),
    dict(variant='dir'), dict(radius=1.0, max_relative_radius=0.1, exclude=['bias'])))}


def partly_used(model, inputs, labels):
    """Squares of one weight that all ranks use and one that rank 1 alone uses."""
    used = [model.everywhere] + [model.once] * dist.get_rank()
    return sum((w ** 2).sum() for w in used)[None] * inputs[:, 0]


def scenes(rank: int) -> dict:
    found = {}
    for name, options in (('local', {}), ('synced', dict(sync_ascent=True))):
        model = FunctionModel(quadratic, weight=[1.0, 2.0])
        SAM(sgd(model), rho=0.1, **options).update_params(
            objective(model, rows([1, 3]) if rank == 0 else rows([4, 1])))
        found[f'worked-{name}'] = model.weight.detach()

    model = FunctionModel(partly_used, everywhere=[3.0], once=[4.0, 4.0], never=[5.0])
    SAM(sgd(model), rho=0.1, sync_ascent=True).update_params(objective(model, rows([1])))
    found['pair-synced'] = torch.cat([p.detach() for p in model.parameters()])

    calls = []
    original = perturbed.all_reduce
    perturbed.all_reduce = lambda *a, **k: (calls.append(1), original(*a, **k))[1]
    for name, (method, options) in METHODS.items():
        model = DistributedClassifier(classifier())
        torch.manual_seed(rank)
        wrapper = method(sgd(model, momentum=0.9, weight_decay=0.01), accumulative_counts=2,
                         clip_grad=dict(max_norm=0.5), **options)
        calls.clear()
        for number in range(4):
            model.train_step(batch(seed=10 * rank + number), wrapper)
        found[name] = state(model.module)
        found[f'{name}-collectives'] = len(calls)

    for name, options in WHOLE.items():
        model = DistributedClassifier(classifier(norm_eval=True))
        wrapper = CCSAM(sgd(model), **options)
        for number in range(3):
            whole = batch(seed=number)
            model.train_step({key: value[rank::2] for key, value in whole.items()}, wrapper)
        found[name] = state(model.module)

    for name, method in (('ours', PerturbedOptimWrapper), ('ddp', OptimWrapper)):
        model = classifier()
        del model.backbone.unused                 # DDP would ask for find_unused_parameters
        model = DistributedClassifier(model)
        wrapper = method(sgd(model, momentum=0.9), clip_grad=dict(max_norm=0.05))
        for number in range(3):
            model.train_step(batch(seed=10 * rank + number), wrapper)
        found[name] = {key: value for key, value in state(model.module).items()
                       if 'running' not in key}

    model = FunctionModel(partly_used, everywhere=[1.0], once=[2.0], never=[3.0])
    wrapper = PerturbedOptimWrapper(sgd(model, weight_decay=0.5))
    wrapper.update_params(objective(model, rows([1])))
    found['pair'] = torch.cat([p.detach() for p in model.parameters()])

    model = FunctionModel(quadratic, weight=[1.0, 2.0])
    wrapper = SAM(sgd(model), loss_scale=dict(init_scale=1024.0))
    wrapper.update_params(objective(model, rows([float('inf') if rank else 1.0, 1])))
    found['overflow'] = model.weight.detach(), wrapper.loss_scaler.get_scale()

    for same_on_ranks in (False, True):
        model = classifier()
        torch.manual_seed(rank)
        wrapper = GNM(sgd(model), same_on_ranks=same_on_ranks)
        wrapper.choose(model)
        found[f'noise-{same_on_ranks}'] = torch.cat(
            [part.flatten() for part in wrapper.noise(wrapper._draw)])
    return found


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return on_two_ranks(scenes, tmp_path_factory.mktemp('ranks'))


@pytest.mark.parametrize(('name', 'expected'), [
    ('local', (0.73128946, 1.58296802)), ('synced', (0.73675003, 1.58304003))])
def test_each_rank_climbs_by_its_own_part_or_all_by_the_whole(ranks, name, expected):
    for found in ranks:
        assert_close(found[f'worked-{name}'], rows(*expected), atol=1e-8, rtol=0)


@pytest.mark.parametrize('name', METHODS)
def test_ranks_end_with_equal_weights(ranks, name):
    a, b = (found[name] for found in ranks)
    start = state(classifier())
    for key in a:
        if 'running' not in key:       # statistics of a rank's own images
            assert torch.equal(a[key], b[key]), key
    assert not torch.equal(a['head.weight'], start['head.weight'])
    assert torch.equal(a['backbone.unused'], start['backbone.unused'])


@pytest.mark.parametrize('name', METHODS)
def test_gradients_travel_once_a_step(ranks, name):
    # Four micro-batches are two steps; a synced ascent travels with each micro-batch.
    assert ranks[0][f'{name}-collectives'] == (6 if name == 'SAM-synced' else 2)


def test_without_perturbation_it_is_ddp(ranks):
    for found in ranks:
        assert_close(found['ours'], found['ddp'], atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize('name', WHOLE)
def test_synchronised_classes_are_those_of_the_whole_batch(ranks, name):
    model = classifier(norm_eval=True)
    wrapper = CCSAM(sgd(model), **WHOLE[name])
    for number in range(3):
        model.train_step(batch(seed=number), wrapper)
    expected = state(model)
    for found in ranks:
        for key, value in found[name].items():
            assert_close(value, expected[key], atol=1e-6, rtol=1e-5)


def test_a_rank_s_own_classes_are_not_those_of_the_whole_batch(ranks):
    assert not torch.allclose(ranks[0]['CCSAM']['head.weight'],
                              ranks[0]['CCSAM-synced']['head.weight'], atol=1e-6)


def test_a_rank_without_a_gradient_counts_as_zero_and_nobody_s_parameter_stays(ranks):
    # Gradients 2 w of the mean over ranks, weight decay 0.5, rate 0.1.
    for found in ranks:
        assert_close(found['pair'], rows(1 - 0.1 * (2 + 0.5), 2 - 0.1 * (4 / 2 + 1), 3))


def test_a_synced_ascent_is_that_of_the_whole_batch_where_ranks_use_different_weights(
        ranks):
    # Mean gradients (6, 4, 4): a rank without one counts as zero. At the end of the radius they are
    # 2 w of the first weight and w of the others.
    start, ascent = rows(3, 4, 4), rows(6, 4, 4)
    there = start + 0.1 * ascent / ascent.norm()
    expected = start - 0.1 * there * rows(2, 1, 1)
    for found in ranks:
        assert_close(found['pair-synced'], torch.cat([expected, rows(5)]), atol=1e-10, rtol=0)


def test_an_overflow_on_one_rank_skips_the_step_on_both(ranks):
    for found in ranks:
        weights, scale = found['overflow']
        assert torch.equal(weights, rows(1, 2)) and scale == 512.0


def test_each_rank_draws_its_own_noise_or_the_same_on_request(ranks):
    own, shared = ([found[f'noise-{same}'] for found in ranks] for same in (False, True))
    assert not torch.equal(*own) and torch.equal(*shared)
    assert torch.equal(shared[0], own[0])        # rank 0's
