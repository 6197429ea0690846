"""The penalty on the gradient in the logits against worked values, a loop and autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ltcls.losses import LogitGradientPenalty
from ltcls.registry import LOSSES

LOGITS = torch.tensor([[2, 1, 0], [0.5, -0.5, 1], [0, 0, 0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 2])
BATCHES = {'long-tailed': [0, 0, 0, 0, 1, 1, 2, 4], 'a class missing': [4, 0, 0, 4, 4, 2, 0, 0],
           'one class': [3] * 8, 'one sample': [1], 'one a class': [2, 0, 4, 1]}


def equal(actual, expected, atol=2e-6):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    assert_close(actual.detach(), expected, atol=atol, rtol=0)


def drawn(labels):
    """Logits [B, 5] for these labels."""
    noise = torch.Generator().manual_seed(0)
    return 2 * torch.randn(len(labels), 5, dtype=torch.float64, generator=noise)


def cross_entropy(logits, labels):
    return F.cross_entropy(logits, labels, reduction='none')


def penalties(loss, logits, labels):
    return loss(logits, labels) - cross_entropy(logits, labels)


def slow_total(logits, labels, strength, balanced):
    """The batch loss sample by sample, the gradient in the logits by autograd."""
    total, by_class = 0, {}
    for row, label in zip(logits, labels.tolist()):
        cross = row.exp().sum().log() - row[label]
        [gradient] = torch.autograd.grad(cross, row, create_graph=True)
        by_class.setdefault(label, []).append((gradient * gradient).sum())
        total = total + cross / len(labels)
    if balanced:
        means = [sum(values) / len(values) for values in by_class.values()]
    else:
        means = sum(by_class.values(), [])
    return total + strength * sum(means) / len(means)


@pytest.mark.parametrize('balanced', [True, False])
def test_squared_norms_where_each_class_has_one_sample(balanced):
    found = penalties(LogitGradientPenalty(balanced=balanced), LOGITS[:2], LABELS[:2])
    equal(found, [0.180061, 0.330381])
    equal(found.mean(), 0.255221)


def test_squared_norms_where_a_class_has_two_samples():
    plain = penalties(LogitGradientPenalty(balanced=False), LOGITS, LABELS)
    equal(plain, [0.180061, 0.330381, 0.666667])
    equal(plain.mean(), 0.392370)
    balanced = penalties(LogitGradientPenalty(), LOGITS, LABELS)
    # Three samples of two classes: B / (K n_c) is 3/2 for the first, 3/4 for the other two.
    equal(balanced, [1.5 * 0.180061, 0.75 * 0.330381, 0.75 * 0.666667])
    equal(balanced.mean(), 0.339293)


@pytest.mark.parametrize('balanced', [True, False])
@pytest.mark.parametrize('batch', BATCHES)
def test_the_mean_and_its_gradient_are_those_of_a_loop(batch, balanced):
    labels = torch.tensor(BATCHES[batch])
    logits = drawn(labels).requires_grad_()
    total = LogitGradientPenalty(0.7, balanced)(logits, labels).mean()
    expected = slow_total(logits, labels, 0.7, balanced)
    assert_close(total, expected)
    assert_close(torch.autograd.grad(total, logits), torch.autograd.grad(expected, logits))


@pytest.mark.parametrize('balanced', [True, False])
@pytest.mark.parametrize('batch', BATCHES)
def test_first_and_second_derivatives_agree_with_finite_differences(batch, balanced):
    labels = torch.tensor(BATCHES[batch])
    loss, logits = LogitGradientPenalty(2.0, balanced), drawn(labels).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, labels).mean(), logits)


@pytest.mark.parametrize('batch', ['one class', 'one sample', 'one a class'])
def test_classes_of_equal_size_are_averaged_like_samples(batch):
    labels = torch.tensor(BATCHES[batch])
    assert_close(LogitGradientPenalty()(drawn(labels), labels),
                 LogitGradientPenalty(balanced=False)(drawn(labels), labels))


def test_more_samples_of_the_same_do_not_move_the_balanced_penalty():
    often = torch.tensor([0, 0, 0, 0, 1, 2])      # sample 0 four times
    once = penalties(LogitGradientPenalty(), LOGITS, LABELS)
    found = penalties(LogitGradientPenalty(), LOGITS[often], LABELS[often])
    assert_close(found.mean(), once.mean())
    plain = penalties(LogitGradientPenalty(balanced=False), LOGITS[often], LABELS[often])
    equal(plain.mean(), (4 * 0.180061 + 0.330381 + 0.666667) / 6)


def test_with_strength_zero_it_is_cross_entropy():
    assert_close(LogitGradientPenalty(strength=0)(LOGITS, LABELS), cross_entropy(LOGITS, LABELS))


def test_the_penalty_of_a_sample_that_is_surely_wrong_is_two():
    logits = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True)
    loss = LogitGradientPenalty(strength=3.0)
    losses = loss(logits, torch.tensor([0]))
    assert_close(losses, torch.tensor([200.0 + 3 * 2]))
    losses.sum().backward()
    assert_close(logits.grad, torch.tensor([[-1.0, 1.0, 0.0]]))      # that of cross-entropy


@pytest.mark.parametrize('balanced', [True, False])
def test_no_step_needs_a_value_on_the_host(balanced):
    # Tensors without values: whatever reads one, or a shape that depends on one, is an error.
    with torch.device('meta'):
        logits, labels = torch.empty(8, 5), torch.empty(8, dtype=torch.int64)
    assert LogitGradientPenalty(balanced=balanced)(logits, labels).shape == (8,)


def test_it_is_built_by_name_with_the_balanced_form_as_default():
    loss = LOSSES.build(dict(type='LogitGradientPenalty'))
    assert (loss.strength, loss.balanced) == (1, True)
    loss = LOSSES.build(dict(type='LogitGradientPenalty', strength=0.5, balanced=False))
    equal(penalties(loss, LOGITS, LABELS).mean(), 0.392370 / 2)


def test_a_negative_strength_is_named():
    with pytest.raises(ValueError, match='strength=-1'):
        LogitGradientPenalty(-1)
