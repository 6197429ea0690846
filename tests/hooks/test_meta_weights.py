"""Sample weights by the three methods: their values, the step they lead to, shared passes."""

import copy
from types import SimpleNamespace

import pytest
import torch
from meta_toys import (BATCH, CLASS_WEIGHTS, DEV, ToyBackbone, classifier, convolutional,
                       double_backward, images, linear, photos, rows, run, state)
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch.testing import assert_close

from ltcls.hooks import L2RWHook, MetaReweightHook, MetaWeightNetHook, NaNGuardHook
from ltcls.hooks.meta_gradient import MetaGradient, VirtualStep
from ltcls.hooks.meta_reweight import balancing_weights
from ltcls.hooks.nan_guard import StepFilter
from ltcls.longtail import Clock, exponential_counts
from ltcls.models import AdversarialFeatureClassifier, MixedLabels
from ltcls.optim_wrappers import GNM, SAM, PerturbedOptimWrapper


def sgd(model, lr=0.1, **options):
    return torch.optim.SGD(model.parameters(), lr=lr, **options)


# -- class weights --------------------------------------------------------------------------

def test_the_class_weights_of_the_paper():
    counts = exponential_counts(4990, 10, 10)
    assert counts == [4990, 3863, 2991, 2316, 1793, 1388, 1075, 832, 644, 499]
    weights = balancing_weights(counts, 0.9999)
    assert_close(weights, rows(0.292261, 0.358321, 0.444144, 0.555381, 0.699489, 0.885951,
                               1.126505, 1.438219, 1.840900, 2.358830), atol=5e-7, rtol=0)
    quoted = [0.2923, 0.3583, 0.4441, 0.5551, 0.6995, 0.8860, 1.1265, 1.4328, 1.8409, 2.3588]
    # Two of the ten are slips of the pen: the quoted ones do not add up to ten.
    slips = [label for label, (a, b) in enumerate(zip(weights.tolist(), quoted))
             if abs(a - b) > 5e-5 + 1e-9]
    assert slips == [3, 7]
    assert 10 - sum(quoted) == pytest.approx(0.0057, abs=1e-9)


def test_bare_class_weights_are_not_scaled():
    weights = balancing_weights(exponential_counts(4990, 10, 10), 0.9999, scale=False)
    assert_close(weights, rows(
        2.54532165e-04, 3.12064571e-04, 3.86808541e-04, 4.83685713e-04, 6.09190039e-04,
        7.71581425e-04, 9.81081751e-04, 1.25255627e-03, 1.60325405e-03, 2.05432365e-03),
        atol=0, rtol=1e-8)


def test_other_readings_of_the_paper_do_not_give_its_class_weights():
    whole = balancing_weights(exponential_counts(5000, 10, 10), 0.9999)
    assert_close(whole, rows(0.292341, 0.358366, 0.444188, 0.555540, 0.699693, 0.885779, 1.126570,
                             1.437524, 1.841483, 2.358515), atol=5e-7, rtol=0)
    by_size = balancing_weights(exponential_counts(4990, 10, 10), 'auto')
    assert_close(by_size, rows(0.267621, 0.336611, 0.425805, 0.541073, 0.690141, 0.882819,
                               1.131236, 1.453017, 1.868607, 2.403070), atol=5e-7, rtol=0)


@pytest.mark.parametrize('imbalance, expected', [
    (200, (0.0275, 0.0446, 0.0758, 0.1321, 0.2337, 0.4175, 0.7501, 1.3551, 2.4593, 4.5043)),
    (100, (0.0502, 0.0763, 0.1201, 0.1935, 0.3162, 0.5208, 0.8636, 1.4389, 2.3859, 4.0345)),
    (50, (0.0888, 0.1264, 0.1849, 0.2755, 0.4155, 0.6329, 0.9682, 1.4834, 2.2829, 3.5415)),
    (20, (0.1796, 0.2346, 0.3119, 0.4202, 0.5717, 0.7831, 1.0777, 1.4901, 2.0626, 2.8685))])
def test_class_weights_of_cifar10(imbalance, expected):
    weights = balancing_weights(exponential_counts(4990, 10, imbalance), 0.9999)
    assert_close(weights, rows(*expected), atol=5.1e-5, rtol=0)


@pytest.mark.parametrize('beta, expected', [
    (0.9999, [0.064478265, 0.158809548, 0.630501345, 3.146210842]),
    ('auto', [0.084168040, 0.175337618, 0.637124825, 3.103369517])])
def test_beta_is_a_constant_or_follows_the_number_of_images(beta, expected):
    assert_close(balancing_weights([500, 200, 50, 10], beta), rows(*expected), atol=1e-9, rtol=0)


@pytest.mark.parametrize('imbalance, expected', [
    (200, (0.023571, 0.322602, 5.636223)), (100, (0.044217, 0.423942, 5.287103)),
    (50, (0.078538, 0.538395, 4.174772)), (20, (0.158376, 0.686079, 3.159358)),
    (10, (0.258183, 0.797599, 2.525769))])
def test_class_weights_of_cifar100(imbalance, expected):
    weights = balancing_weights(exponential_counts(490, 100, imbalance), 0.9999)
    assert_close(weights[[0, 49, 99]], rows(*expected), atol=5e-7, rtol=0)


def test_a_class_without_images_weighs_nothing_and_does_not_count():
    with pytest.warns(UserWarning, match='without a training image: 1; they weigh 0'):
        weights = balancing_weights([500, 0, 50, 10], 0.9999)
    assert weights[1] == 0
    assert_close(weights[[0, 2, 3]], balancing_weights([500, 50, 10], 0.9999))


# -- steps that are no numbers ---------------------------------------------------------------

@pytest.mark.parametrize('hook', [MetaReweightHook(begin=0), MetaWeightNetHook()])
def test_a_virtual_step_that_overflows_costs_one_step_and_nothing_else(hook):
    order = SimpleNamespace(_hooks=[])
    for one in (hook, NaNGuardHook('skip')):
        Runner.register_hook(order, one)
    assert order._hooks[-1] is hook           # its pass moves the buffers that the guard notes

    model, clean, hook = classifier(), hook.virtual_step, copy.deepcopy(hook)
    wrapper = OptimWrapper(sgd(model))
    filter = StepFilter(model, wrapper)
    wild = VirtualStep(lr=torch.inf)
    states = [state(model)]
    for number in range(3):
        hook.virtual_step = lambda epoch: wild if number == 1 else clean(epoch)
        filter.remember()
        run(hook, model, wrapper)
        states.append(state(model))
    assert filter.count() == (1, 3)
    assert all(torch.equal(value, states[1][name]) for name, value in states[2].items()
               if value.is_floating_point())
    for before, after in ((0, 1), (2, 3)):
        assert not torch.equal(states[before]['head.weight'], states[after]['head.weight'])
    if isinstance(hook, MetaWeightNetHook):
        assert all(value.isfinite().all() for value in hook.net.parameters())


# -- meta-reweighting -----------------------------------------------------------------------

def reweighting(by_class=(0.5, 1.0, 1.5), **options):
    hook = MetaReweightHook(begin=0, **options)
    hook.by_class = rows(*by_class)
    return hook


WORKED = {
    'mean': (dict(tau=1.0, virtual_reduction='mean'),
             [0.506317008, 1.005788486, 0.505829722, 1.493194141], 0.897392065,
             [[0.214391281, -0.115950063], [-0.018362597, 0.301819069],
              [-0.296028684, 0.114130994]], [-0.001770398, -0.008025020, 0.009795418]),
    'sum': (dict(tau=0.01),
            [0.500250407, 1.000240073, 0.500229485, 1.499705914], 0.895345861,
            [[0.214208006, -0.115960032], [-0.018243368, 0.301679818],
             [-0.295964638, 0.114280213]], [-0.001957607, -0.008076052, 0.010033659]),
}


@pytest.mark.parametrize('case', WORKED)
def test_worked_numbers_of_a_whole_step(case):
    options, expected, loss, matrix, bias = WORKED[case]
    model, hook = linear(), reweighting(**options)
    optimizer = sgd(model)
    problem = MetaGradient(model, BATCH, DEV, optimizer, hook.virtual_step(0))
    weights, found = hook.sample_weights(problem)
    assert_close(weights, rows(*expected), atol=2e-9, rtol=0)
    assert_close(found['eps'], (rows(*expected) - CLASS_WEIGHTS).abs().mean(), atol=2e-9, rtol=0)
    total = model(**BATCH, weights=weights, mode='loss')['loss'].mean()
    assert_close(total, rows(loss)[0], atol=2e-9, rtol=0)
    total.backward()
    optimizer.step()
    assert_close(model.network.weight.detach(), rows(*matrix), atol=2e-9, rtol=0)
    assert_close(model.network.bias.detach(), rows(*bias), atol=2e-9, rtol=0)


def test_the_whole_weight_can_be_learned_clipped_and_normalised():
    model, hook = linear(), reweighting(tau=0, learned='whole', virtual_reduction='mean')
    problem = MetaGradient(model, BATCH, DEV, sgd(model), hook.virtual_step(0))
    weights, found = hook.sample_weights(problem)
    assert hook.learns and found['unused'] == 0.25
    assert_close(weights / 4, rows(0.352212562, 0.322744136, 0.325043302, 0.0), atol=2e-9, rtol=0)


def test_eps_is_neither_clipped_nor_normalised():
    model, hook = linear(), reweighting(tau=1000.0)
    weights, _ = hook.sample_weights(MetaGradient(model, BATCH, DEV, sgd(model)))
    assert_close(weights, CLASS_WEIGHTS + 1000 * rows(
        0.025040708, 0.024007340, 0.022948520, -0.029408620), atol=2e-6, rtol=0)
    assert weights.min() < -20


def test_the_virtual_rate_follows_its_own_schedule():
    hook = MetaReweightHook(virtual_lr=[[0, 0.1], [160, 1e-3], [180, 1e-5]])
    assert [hook.virtual_step(epoch).lr for epoch in (0, 159, 160, 179, 180, 199)] == [
        0.1, 0.1, 1e-3, 1e-3, 1e-5, 1e-5]
    assert MetaReweightHook().virtual_step(170) == VirtualStep('sum', None, 'plain')


def test_a_mixed_image_weighs_what_its_labels_weigh():
    labels = MixedLabels(torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor(0.75))
    assert_close(reweighting().weights_of(labels), rows(0.75 * 0.5 + 0.25 * 1.5,
                                                        0.75 * 1.0 + 0.25 * 0.5))


# -- learning to reweight -------------------------------------------------------------------

def test_worked_weights_of_learning_to_reweight():
    model = linear()
    weights, found = L2RWHook().sample_weights(MetaGradient(model, BATCH, DEV, sgd(model)))
    # The batch loss is the sum; the step takes the mean over four.
    assert_close(weights / 4, rows(0.353632106, 0.319228156, 0.327139738, 0.0), atol=2e-9, rtol=0)
    assert found['unused'] == 0.25


def square_model():
    """Another model of two classes without bias, and its images, of worked numbers."""
    model = linear()
    model.network = torch.nn.Linear(2, 2, bias=False).double()
    model.network.weight.data = rows([0.5, -0.5], [-0.25, 0.25])
    batch = dict(inputs=rows([1.0, 0.0], [0.0, 1.0], [1.0, 1.0]), labels=torch.tensor([0, 1, 0]))
    return model, batch, dict(inputs=rows([1.0, 0.5], [0.0, 2.0]), labels=torch.tensor([0, 1]))


@pytest.mark.parametrize('hook, weights, loss, matrix', [
    (L2RWHook(), [0.427808, 0.169286, 0.402906], 0.510272,
     [[0.533870, -0.485286], [-0.283870, 0.235286]]),
    (MetaReweightHook(begin=0), [0.500126, 1.500045, 0.500126], 0.373490,
     [[0.513684, -0.507706], [-0.263684, 0.257706]])])
def test_worked_steps_of_another_model(hook, weights, loss, matrix):
    model, batch, dev = square_model()
    hook.by_class = rows(0.5, 1.5)
    optimizer = sgd(model)
    found, _ = hook.sample_weights(MetaGradient(model, batch, dev, optimizer))
    summed = isinstance(hook, L2RWHook)       # its loss is the sum; the step takes the mean
    assert_close(found / (3 if summed else 1), rows(*weights), atol=1e-6, rtol=0)
    total = model(**batch, weights=found, mode='loss')['loss'].mean()
    total.backward()
    optimizer.step()
    assert_close(total.detach(), rows(loss)[0], atol=1e-6, rtol=0)
    assert_close(model.network.weight.detach(), rows(*matrix), atol=1e-6, rtol=0)


def test_a_batch_in_which_no_sample_helps_weighs_nothing():
    model = linear()
    # The same image under another label: (p - e_0) . (p - e_1) = p . p - p_0 - p_1 is negative.
    batch, dev = (dict(inputs=BATCH['inputs'][[0, 0]], labels=torch.tensor([label, label]))
                  for label in (0, 1))
    weights, _ = L2RWHook().sample_weights(MetaGradient(model, batch, dev, sgd(model)))
    assert torch.equal(weights, torch.zeros(2, dtype=torch.float64))


# -- Meta-Weight-Net ------------------------------------------------------------------------

def test_the_weight_net_descends_the_development_loss_through_the_virtual_step():
    model, batch, dev = convolutional(), images(12, seed=1), images(9, seed=2)
    torch.manual_seed(3)
    hook = MetaWeightNetHook(hidden=7)
    hook.net.double()
    expected = torch.nn.Sequential(*[type(m)(m.in_features, m.out_features).double()
                                     if hasattr(m, 'weight') else m for m in hook.net])
    expected.load_state_dict(hook.net.state_dict())
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3, weight_decay=1e-4)

    losses = MetaGradient(model, batch, dev, sgd(model)).losses.detach()[:, None]
    values = expected(losses)[:, 0]
    slopes = double_backward(model, batch, dev, values.detach(), lr=0.05, share=1 / 12)
    values.backward(slopes)
    optimizer.step()

    problem = MetaGradient(model, batch, dev, sgd(model, lr=0.05), hook.virtual_step(0))
    weights, found = hook.sample_weights(problem)
    for value, other in zip(hook.net.parameters(), expected.parameters()):
        assert_close(value, other, atol=1e-10, rtol=1e-8)
    assert_close(weights, expected(losses)[:, 0].detach(), atol=1e-10, rtol=1e-8)
    assert ((weights > 0) & (weights < 1)).all() and not weights.requires_grad


@pytest.mark.parametrize('variant, expected', [
    ('noise', [-6.24900e-4, -1.237611e-3, -1.249800e-3, -2.475223e-3]),
    ('imbalance', [-2.33498e-5, 7.01859e-6, -4.66997e-5, 1.40372e-5])])
def test_worked_gradients_of_the_weight_net(variant, expected):
    model, batch, dev = square_model()
    hook = MetaWeightNetHook(hidden=1, variant=variant)
    hook.net.double()
    with torch.no_grad():
        for parameter, value in zip(hook.net.parameters(), (1.0, 0.0, 0.5, -0.2)):
            parameter.fill_(value)
    hook.optimizer = sgd(hook.net, lr=0.1)
    weights, _ = hook.sample_weights(MetaGradient(model, batch, dev, sgd(model),
                                                  hook.virtual_step(0)))
    found = torch.cat([parameter.grad.flatten() for parameter in hook.net.parameters()])
    assert_close(found, rows(*expected), atol=1e-9, rtol=2e-5)
    values = hook.net(rows([0.386871], [0.386871], [0.693147]))[:, 0].detach()
    expected = values if variant == 'noise' else 3 * values / values.sum()
    assert_close(weights, expected, atol=1e-6, rtol=0)


def test_the_variants_of_the_weight_net_have_the_optimizers_of_their_code():
    noise, imbalance = MetaWeightNetHook().optimizer, MetaWeightNetHook(variant='imbalance').optimizer
    assert type(noise) is torch.optim.Adam and type(imbalance) is torch.optim.SGD
    found = [[o.defaults.get(name) for name in ('lr', 'weight_decay', 'momentum', 'nesterov')]
             for o in (noise, imbalance)]
    assert found == [[1e-3, 1e-4, None, None], [1e-5, 5e-4, 0.9, True]]
    assert MetaWeightNetHook(variant='imbalance', lr=0.0).optimizer.defaults['lr'] == 0


# -- with real classifiers and optim wrappers -----------------------------------------------

METHODS = dict(meta_reweight=lambda **o: MetaReweightHook(begin=0, tau=10.0, **o), l2rw=L2RWHook,
               meta_weight_net=lambda **o: (torch.manual_seed(4), MetaWeightNetHook(**o))[1])


def plain_step(model, weights, number=0):
    """The step of SGD with given weights, by hand."""
    batch = model.data_preprocessor(photos(number), True)
    (weights * model(**batch, mode='loss')['loss']).mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    return model


@pytest.mark.parametrize('wrapper', [OptimWrapper, PerturbedOptimWrapper])
@pytest.mark.parametrize('method', METHODS)
def test_a_step_is_the_plain_step_with_these_weights(method, wrapper):
    model = classifier()
    weights = run(METHODS[method](), model, wrapper(sgd(model)))
    expected = plain_step(classifier(), weights)
    assert weights.std() > 1e-3
    for name, value in model.state_dict().items():
        assert_close(value, expected.state_dict()[name], atol=1e-6, rtol=1e-5, msg=name)
    assert int(model.backbone.bn.num_batches_tracked) == 1


@pytest.mark.parametrize('method, wrapper, passes', [
    # losses, development batch and slopes; the step's own where it is not shared
    ('meta_reweight', OptimWrapper, 3), ('meta_reweight', PerturbedOptimWrapper, 3),
    ('meta_weight_net', OptimWrapper, 3), ('l2rw', OptimWrapper, 3),
    ('meta_reweight', SAM, 4), ('meta_reweight', GNM, 4)])
def test_the_pass_at_the_weights_serves_the_virtual_and_the_real_step(method, wrapper, passes):
    model = classifier()
    run(METHODS[method](), model, wrapper(sgd(model)))
    assert model.backbone.passes == passes


@pytest.mark.parametrize('change', [dict(precision='bfloat16'), dict(batch_norm='running'),
                                    dict(share_forward=False)])
def test_a_pass_of_another_kind_is_not_shared(change):
    options = {key: change.pop(key) for key in ('precision',) if key in change}
    model = classifier(**options)
    run(METHODS['meta_reweight'](**change), model, OptimWrapper(sgd(model)))
    assert model.backbone.passes == 4 and int(model.backbone.bn.num_batches_tracked) == 1


@pytest.mark.parametrize('method, wrapper, options, model_options, order', [
    # The passes in their order: over the batch, the development batch, or SAM's second one.
    ('meta_reweight', OptimWrapper, dict(share_forward=False), {}, 'BdBB'),
    ('meta_reweight', OptimWrapper, dict(batch_norm='running'), {}, 'BdBB'),
    ('meta_reweight', OptimWrapper, {}, dict(precision='bfloat16'), 'BdBB'),
    ('meta_reweight', OptimWrapper, {}, {}, 'BdB'),
    ('meta_reweight', GNM, {}, {}, 'BdBB'), ('meta_reweight', SAM, {}, {}, 'BdB2'),
    ('meta_weight_net', GNM, {}, {}, 'BdBB'),
    ('l2rw', OptimWrapper, {}, {}, 'dBB'), ('l2rw', GNM, {}, {}, 'dBB')])
def test_all_passes_over_a_batch_have_the_same_masks(method, wrapper, options, model_options,
                                                     order):
    model = classifier(dropout=0.5, **model_options)
    torch.manual_seed(7)
    run(METHODS[method](**options), model, wrapper(sgd(model)))
    masks = model.backbone.masks
    assert len(masks) == len(order)
    first = masks[order.index('B')]
    assert [torch.equal(mask, first) for mask in masks] == [pass_ == 'B' for pass_ in order]


def test_a_pass_outside_autocast_is_not_shared():
    found = [MetaReweightHook()._can_share(classifier(), kind.__new__(kind))
             for kind in (OptimWrapper, AmpOptimWrapper)]
    assert found == [True, False]


@pytest.mark.parametrize('wrapper', [SAM, GNM, PerturbedOptimWrapper])
def test_the_weights_do_not_depend_on_the_optim_wrapper(wrapper):
    found = []
    for kind in (OptimWrapper, wrapper):
        model = classifier()
        found.append(run(METHODS['meta_reweight'](), model, kind(sgd(model))))
    assert_close(*found, atol=1e-6, rtol=1e-5)


def test_sam_descends_the_weighted_loss_at_the_point_that_it_climbs_to():
    weighted, by_hand = classifier(), classifier()
    weights = run(METHODS['meta_reweight'](), weighted, SAM(sgd(weighted), rho=0.1))

    class Fixed(MetaReweightHook):
        learns = False

        def sample_weights(self, problem):
            return weights, {}

    run(Fixed(begin=0, tau=0.0), by_hand, SAM(sgd(by_hand), rho=0.1))
    assert_close(state(weighted), state(by_hand), atol=1e-6, rtol=1e-5)


def test_each_part_of_an_accumulated_step_has_its_own_weights():
    model, parts = classifier(norm=False), []
    hook = METHODS['meta_reweight']()
    run(hook, model, OptimWrapper(sgd(model), accumulative_counts=2), steps=2)
    expected = classifier(norm=False)
    for number in range(2):
        copy = classifier(norm=False)
        batch = copy.data_preprocessor(photos(number), True)
        dev = copy.data_preprocessor(photos(100 + number), True)
        problem = MetaGradient(copy, batch, dev, sgd(copy), hook.virtual_step(0))
        weights, _ = hook.sample_weights(problem)
        parts.append((weights * expected(**batch, mode='loss')['loss']).mean())
    (sum(parts) / 2).backward()
    for parameter, other in zip(model.parameters(), expected.parameters()):
        assert_close(parameter, other - 0.1 * other.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('loss, head', [('FocalLoss', 'LinearHead'), ('LDAMLoss', 'CosineHead'),
                                        ('GCLLoss', 'CosineHead')])
def test_any_loss_has_weights_as_double_backward_finds_them(loss, head):
    model = classifier(loss, head)
    batch, dev = (model.data_preprocessor(photos(seed), True) for seed in (0, 1))
    weights = torch.linspace(0.5, 1.5, 8)
    torch.manual_seed(1)
    slow = double_backward(model, batch, dev, weights, lr=0.1)
    torch.manual_seed(1)
    fast = MetaGradient(model, batch, dev, sgd(model)).gradient(weights)
    assert_close(fast, slow, atol=1e-6 * float(slow.abs().max()), rtol=2e-4)


@pytest.mark.parametrize('frozen', [['backbone'], []])
def test_stage_two_of_cc_sam_has_weights_as_double_backward_finds_them(frozen):
    torch.manual_seed(0)
    model = AdversarialFeatureClassifier(
        backbone=dict(type=ToyBackbone), head=dict(type='LinearHead'), frozen=frozen,
        loss=dict(type='CrossEntropyLoss'), data_preprocessor=classifier().data_preprocessor)
    model.bind([40, 20, 10, 5])
    model.set_clock(Clock(4, 10, 0.4))
    model.train()
    batch, dev = (model.data_preprocessor(photos(seed), True) for seed in (0, 1))
    weights = torch.linspace(0.5, 1.5, 8)
    slow = double_backward(model, batch, dev, weights, lr=0.1)
    fast = MetaGradient(model, batch, dev, sgd(model)).gradient(weights)
    assert_close(fast, slow, atol=1e-5 * float(slow.abs().max()), rtol=5e-4)


def test_half_precision_is_used_on_request_and_comes_close():
    found = []
    for precision in ('float32', 'model'):
        model = classifier(precision='bfloat16', channels_last=True)
        hook = METHODS['meta_reweight'](precision=precision)
        weights = run(hook, model, OptimWrapper(sgd(model)))
        found.append(weights - hook.by_class[photos(0)['labels']])
        assert model.backbone.passes == (4 if precision == 'float32' else 3)
    assert not torch.equal(*found)
    assert (found[0] - found[1]).norm() < 0.05 * found[0].norm()


def test_memory_format_does_not_change_the_weights():
    found = []
    for channels_last in (False, True):
        model = classifier(channels_last=channels_last)
        found.append(run(METHODS['meta_reweight'](), model, OptimWrapper(sgd(model)), steps=2))
    assert_close(*found, atol=1e-5, rtol=1e-4)


def test_mixed_batches_are_weighed_and_development_images_stay_unmixed():
    model = classifier(mixing=dict(type='Mixup', alpha=1.0))
    seen = []
    model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs),
                                    with_kwargs=True)
    weights = run(METHODS['meta_reweight'](), model, OptimWrapper(sgd(model)))
    clean = model.data_preprocessor(photos(100), False)['inputs']
    assert any(torch.equal(kwargs['inputs'], clean) for kwargs in seen)
    assert isinstance(seen[0]['labels'], MixedLabels) and len(weights) == 8
    assert torch.isfinite(weights).all()


def test_without_tau_it_is_class_balanced_training():
    model, expected = classifier(), classifier()
    hook = MetaReweightHook(begin=0, tau=0.0, beta=0.99)
    run(hook, model, OptimWrapper(sgd(model)), steps=2)
    expected.set_class_weights(balancing_weights([40, 20, 10, 5], 0.99), mean='plain')
    wrapper = OptimWrapper(sgd(expected))
    for number in range(2):
        expected.train_step(photos(number), wrapper)
    assert_close(state(model), state(expected), atol=1e-7, rtol=1e-6)
    assert model.backbone.passes == 2


def test_class_weights_besides_are_refused():
    model = classifier()
    model.set_class_weights(torch.ones(4))
    with pytest.raises(ValueError, match='remove DeferredReweightHook'):
        run(METHODS['l2rw'](), model, OptimWrapper(sgd(model)))


@pytest.mark.parametrize('make, message', [
    (lambda: MetaReweightHook(begin=-1), 'begin=-1; it must be an epoch'),
    (lambda: MetaReweightHook(tau=-0.1), 'tau=-0.1; it must be at least 0'),
    (lambda: MetaReweightHook(beta=1.0), "beta=1.0; it must be 'auto' or in"),
    (lambda: MetaReweightHook(beta='all'), "beta='all'"),
    (lambda: MetaReweightHook(virtual_reduction='max'), "must be 'sum' or 'mean'"),
    (lambda: MetaReweightHook(virtual_step='adam'), "must be 'plain' or 'optimizer'"),
    (lambda: MetaReweightHook(virtual_lr=[]), r'virtual_lr=\[\]; it must be pairs'),
    (lambda: MetaReweightHook(virtual_lr=[(180, 1e-5), (160, 1e-3)]), 'in order, the first at 160'),
    (lambda: MetaReweightHook(virtual_lr=[(170, 1e-3)]), 'in order, the first at 160 or before'),
    (lambda: MetaReweightHook(dev_loss='ldam'), "must be 'ce' or 'same'"),
    (lambda: MetaReweightHook(precision='half'), "must be 'float32' or 'model'"),
    (lambda: L2RWHook(dev_batch_size=0), 'L2RWHook got dev_batch_size=0'),
    (lambda: MetaWeightNetHook(hidden=0), 'MetaWeightNetHook got hidden=0'),
])
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
