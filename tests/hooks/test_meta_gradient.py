"""The derivative of the development loss by sample weights: worked numbers, and the slow way."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from meta_toys import (BATCH, CLASS_WEIGHTS, DEV, Block, Toy, convolutional, double_backward,
                       images, linear, rows, state)
from torch import nn
from torch.testing import assert_close

from ltcls.hooks.meta_gradient import MetaGradient, VirtualStep
from ltcls.hooks.recompute import recomputed


def sgd(model, lr=0.1, **options):
    return torch.optim.SGD(model.parameters(), lr=lr, **options)


def with_momentum(model, **options):
    """SGD whose momentum buffers hold 0.05 for the matrix and -0.02 for the bias."""
    optimizer = sgd(model, momentum=0.9, weight_decay=5e-4, **options)
    for parameter, value in zip(model.parameters(), (0.05, -0.02)):
        optimizer.state[parameter]['momentum_buffer'] = torch.full_like(parameter, value)
    return optimizer


CASES = {
    'mean': (sgd, VirtualStep('mean'), [-0.006317008, -0.005788486, -0.005829722, 0.006805859]),
    'sum': (sgd, VirtualStep('sum'), [-0.025040708, -0.024007340, -0.022948520, 0.029408620]),
    'momentum': (with_momentum, VirtualStep('mean', rule='optimizer'),
                 [-0.006317015, -0.005788520, -0.005829745, 0.006805880]),
    'nesterov': (lambda model: with_momentum(model, nesterov=True),
                 VirtualStep('mean', rule='optimizer'),
                 [-0.011969015, -0.011117133, -0.011022273, 0.013241241]),
}


@pytest.mark.parametrize('case', CASES)
def test_worked_numbers_of_a_linear_model(case):
    optimizer, step, expected = CASES[case]
    model = linear()
    problem = MetaGradient(model, BATCH, DEV, optimizer(model), step)
    assert_close(problem.losses, rows(0.982198333, 0.939131908, 0.817504379, 1.161388476),
                 atol=1e-9, rtol=0)
    assert_close(problem.gradient(CLASS_WEIGHTS), rows(*expected), atol=1e-9, rtol=0)


MOVED = {
    'mean': ([0.214200390, -0.115960556], -0.001965428),
    'sum': ([0.256801561, -0.163842224], -0.007861713),
    'momentum': ([0.209690390, -0.120455556], -0.000165428),
    'nesterov': ([0.222911741, -0.134365557], -0.002114313),
}


@pytest.mark.parametrize('case', MOVED)
def test_worked_weights_after_the_virtual_step(case):
    optimizer, step, _ = CASES[case]
    model = linear()
    params = list(model.parameters())
    share = 1 / 4 if step.reduction == 'mean' else 1
    losses = model(**BATCH, mode='loss')['loss']
    grads = torch.autograd.grad(share * (CLASS_WEIGHTS * losses).sum(), params)
    (matrix, bias), _ = step.take(optimizer(model), params, list(grads))
    assert_close(matrix[0], rows(*MOVED[case][0]), atol=1e-9, rtol=0)
    assert_close(bias[0], rows(MOVED[case][1])[0], atol=1e-9, rtol=0)


def test_at_weights_of_zero_the_step_stays_where_it_is():
    model = linear()
    problem = MetaGradient(model, BATCH, DEV, sgd(model))
    assert_close(problem.gradient(None),
                 rows(-0.025347918, -0.022881885, -0.023448977, 0.026501562), atol=1e-9, rtol=0)
    assert_close(problem.gradient(torch.zeros(4)), problem.gradient(None), atol=1e-15, rtol=0)


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_it_is_what_double_backward_gives_through_batch_norm_in_training_mode(reduction):
    model, batch, dev = convolutional(), images(12, seed=1), images(9, seed=2)
    weights = torch.linspace(0.2, 2.0, 12, dtype=torch.float64)
    share = 1.0 if reduction == 'sum' else 1 / 12
    slow = double_backward(model, batch, dev, weights, lr=0.05, share=share)
    fast = MetaGradient(model, batch, dev, sgd(model, lr=0.05),
                        VirtualStep(reduction)).gradient(weights)
    assert slow.abs().max() > 1e-4
    assert_close(fast, slow, atol=0, rtol=1e-8)


def test_recomputed_activations_change_nothing_but_the_number_of_convolutions(monkeypatch):
    batch, dev, own = images(12, seed=1), images(9, seed=2), F.conv2d
    weights = torch.linspace(0.2, 2.0, 12, dtype=torch.float64)
    found, channels = [], []
    monkeypatch.setattr(F, 'conv2d', lambda x, *options: channels.append(x.shape[1])
                        or own(x, *options))
    for parts in ((), ('network.conv2', 'network.bn2'), ('network',)):
        model = convolutional(dropout=0.4)
        before = state(model)
        torch.manual_seed(3)
        channels.clear()
        problem = MetaGradient(model, batch, dev, sgd(model, lr=0.05), recompute=parts)
        # The losses, the development batch, the slopes; and the development batch once more.
        found.append((problem.gradient(weights), (channels.count(2), channels.count(4))))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [passes for _, passes in found] == [(3, 3), (3, 4), (4, 4)]
    assert torch.equal(found[1][0], found[0][0]) and torch.equal(found[2][0], found[0][0])


def test_recomputed_parts_move_their_buffers_once():
    model, plain, dev = convolutional(), convolutional(), images(9, seed=2)
    with recomputed(model, ['network']):
        losses = model(**dev, mode='loss')['loss']
        first = torch.autograd.grad(losses.sum(), list(model.parameters()), retain_graph=True)
        again = torch.autograd.grad(losses.sum(), list(model.parameters()))
    expected = torch.autograd.grad(plain(**dev, mode='loss')['loss'].sum(),
                                   list(plain.parameters()))
    assert_close(first, expected, atol=0, rtol=0)
    assert_close(again, expected, atol=0, rtol=0)
    assert all(torch.equal(value, plain.state_dict()[name])
               for name, value in model.state_dict().items())


def test_recomputed_parts_get_their_own_forward_back_when_the_pass_fails():
    model = convolutional()
    network, own = model.network, model.network.forward
    network.forward = own
    with pytest.raises(RuntimeError, match='stopped'):
        with recomputed(model, ['network', 'network.conv1']):
            assert network.forward is not own
            raise RuntimeError('stopped')
    assert network.forward is own and 'forward' not in vars(network.conv1)


def test_it_is_the_slope_that_finite_differences_find():
    model, batch, dev = convolutional(), images(6, seed=1), images(6, seed=2)
    weights = torch.ones(6, dtype=torch.float64)
    fast = MetaGradient(model, batch, dev, sgd(model, lr=0.05), dev_loss='same').gradient(weights)

    def loss_after(weights):
        step = VirtualStep()
        params = list(model.parameters())
        losses = model(**batch, mode='loss')['loss']
        grads = torch.autograd.grad((weights * losses).sum(), params)
        moved, _ = step.take(sgd(model, lr=0.05), params, list(grads))
        names = [name for name, _ in model.named_parameters()]
        with torch.no_grad():
            return torch.func.functional_call(model, dict(zip(names, moved)), (),
                                              dict(dev, mode='loss'))['loss'].mean()

    for index in (0, 5):
        offset = 1e-5 * F.one_hot(torch.tensor(index), 6)
        slope = (loss_after(weights + offset) - loss_after(weights - offset)) / 2e-5
        assert_close(fast[index], slope, atol=1e-9, rtol=1e-6)


def test_nothing_of_the_model_moves():
    model = convolutional()
    before, draws = state(model), torch.get_rng_state()
    problem = MetaGradient(model, images(12, seed=1), images(9, seed=2), sgd(model))
    problem.gradient(torch.ones(12, dtype=torch.float64))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), draws) and model.training


def test_a_shared_pass_moves_the_statistics_once_and_can_still_be_descended():
    model, plain = convolutional(), convolutional()
    batch, weights = images(12, seed=1), torch.ones(12, dtype=torch.float64)
    problem = MetaGradient(model, batch, images(9, seed=2), sgd(model), shared=True)
    problem.gradient(weights)
    (weights * problem.handed_on).mean().backward()
    # The shared pass runs in this memory layout, in which rounding is its own.
    batch['inputs'] = batch['inputs'].contiguous(memory_format=torch.channels_last)
    plain(**batch, mode='loss', weights=weights)['loss'].mean().backward()
    for (name, parameter), expected in zip(model.named_parameters(), plain.parameters()):
        assert_close(parameter.grad, expected.grad, msg=name)
    assert all(torch.equal(value, plain.state_dict()[name])
               for name, value in model.state_dict().items())
    assert int(model.network.bn1.num_batches_tracked) == 1


def test_dropout_has_the_same_masks_in_both_passes_over_the_batch():
    model, batch, dev = convolutional(dropout=0.5), images(12, seed=1), images(9, seed=2)
    weights = torch.ones(12, dtype=torch.float64)
    torch.manual_seed(5)
    slow = double_backward(model, batch, dev, weights, lr=0.05)
    torch.manual_seed(5)
    fast = MetaGradient(model, batch, dev, sgd(model, lr=0.05)).gradient(weights)
    assert_close(fast, slow, atol=0, rtol=1e-8)


def test_frozen_and_unused_parameters_take_no_part():
    model, batch, dev = convolutional(), images(12, seed=1), images(9, seed=2)
    model.unused = nn.Parameter(torch.ones(3))
    model.network.conv1.weight.requires_grad_(False)
    weights = torch.ones(12, dtype=torch.float64)
    optimizer = sgd(model, lr=0.05)
    fast = MetaGradient(model, batch, dev, optimizer).gradient(weights)
    del model.unused
    assert_close(fast, double_backward(model, batch, dev, weights, lr=0.05), atol=0, rtol=1e-8)


def test_running_statistics_are_used_on_request():
    model, batch, dev = convolutional(), images(12, seed=1), images(9, seed=2)
    weights = torch.ones(12, dtype=torch.float64)
    found = MetaGradient(model, batch, dev, sgd(model, lr=0.05),
                         batch_norm='running').gradient(weights)
    expected = double_backward(model.eval(), batch, dev, weights, lr=0.05)
    assert_close(found, expected, atol=0, rtol=1e-8)


class Experts(nn.Module):
    """Two linear experts: logits [B, 2, C]."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(2, 3) for _ in range(2))

    def forward(self, x):
        return torch.stack([part(x) for part in self.parts], dim=1)


def test_the_development_loss_of_experts_is_that_of_their_mean():
    def loss_of_mean(logits, labels, reduction='mean'):
        return F.cross_entropy(logits.mean(dim=1), labels, reduction=reduction)

    torch.manual_seed(0)
    model = Toy(Experts().double()).train()
    model.per_sample = lambda logits, labels: loss_of_mean(logits, labels, reduction='none')
    slow = double_backward(model, BATCH, DEV, CLASS_WEIGHTS, lr=0.1, dev_loss=loss_of_mean)
    assert_close(MetaGradient(model, BATCH, DEV, sgd(model)).gradient(CLASS_WEIGHTS), slow)


def test_attention_is_differentiated_in_its_plain_form():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.project = nn.Linear(4, 12)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            q, k, v = self.project(x[:, None]).chunk(3, dim=-1)
            return self.head(F.scaled_dot_product_attention(q, k, v).mean(dim=(1, 2)))

    torch.manual_seed(0)
    model = linear()
    model.network = Attention().double()
    batch, dev = (dict(inputs=torch.randn(6, 5, 4, dtype=torch.float64),
                       labels=torch.arange(6) % 3) for _ in range(2))
    weights = torch.ones(6, dtype=torch.float64)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    with sdpa_kernel(SDPBackend.MATH):
        slow = double_backward(model, batch, dev, weights, lr=0.1)
    fast = MetaGradient(model, batch, dev, sgd(model)).gradient(weights)
    assert_close(fast, slow, atol=0, rtol=1e-8)


class Square(torch.autograd.Function):
    """x * x, which cannot be differentiated forward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 2

    @staticmethod
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad


class Squaring(Block):
    def forward(self, x):
        return Square.apply(super().forward(x))


@pytest.mark.parametrize('shared', [False, True])
def test_an_operator_without_a_forward_derivative_is_differentiated_in_reverse(shared):
    torch.manual_seed(0)
    model = Toy(Squaring(dropout=0.4).double()).train()
    batch, dev = images(12, seed=1), images(9, seed=2)
    weights = torch.linspace(0.5, 1.5, 12, dtype=torch.float64)
    before = state(model)
    torch.manual_seed(5)
    slow = double_backward(model, batch, dev, weights, lr=0.05)
    for reverse in (False, True):
        torch.manual_seed(5)
        problem = MetaGradient(model, batch, dev, sgd(model, lr=0.05), reverse=reverse,
                               shared=shared)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter('always')
            found = problem.gradient(weights)
        told = [line for line in told if 'differentiating in reverse' in str(line.message)]
        assert len(told) == (not reverse) and problem.reverse
        assert_close(found, slow, atol=0, rtol=1e-8)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()
               if not shared or value.dim() and 'running' not in name)


def test_the_product_in_reverse_is_the_one_forward():
    found = []
    for reverse in (False, True):
        model, batch, dev = convolutional(), images(12, seed=1), images(9, seed=2)
        model.unused = nn.Parameter(torch.ones(3))
        problem = MetaGradient(model, batch, dev, sgd(model, lr=0.05), reverse=reverse)
        found.append(problem.gradient(torch.ones(12, dtype=torch.float64)))
    assert_close(found[1], found[0], atol=0, rtol=1e-10)


def test_a_loss_that_is_one_number_is_refused():
    model = linear()
    model.per_sample = lambda logits, labels: F.cross_entropy(logits, labels)
    with pytest.raises(TypeError, match='one number a sample'):
        MetaGradient(model, BATCH, DEV, sgd(model)).gradient(CLASS_WEIGHTS)


class Viewing(Block):
    """A network that lays its feature maps flat without copying them."""

    def forward(self, x):
        return super().forward(self.bn1(self.conv1(x)).view(-1, 2, 5, 10))


@pytest.mark.parametrize('shared', [False, True])
def test_feature_maps_that_cannot_be_viewed_are_named_with_the_remedy(shared):
    model = Toy(Viewing().double()).train()
    problem = MetaGradient(model, images(6, seed=1), images(6, seed=2), sgd(model), shared=shared)
    with pytest.raises(RuntimeError, match='calls `view` on feature maps.*call `reshape` instead'):
        problem.gradient(torch.ones(6, dtype=torch.float64))
