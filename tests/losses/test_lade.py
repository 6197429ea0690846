"""LADE against the worked values of the formulas, and against a loop over samples and classes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ltcls.losses import BalancedSoftmaxLoss, LADELoss

LOGITS = torch.tensor([[2, 1, 0], [0.5, -0.5, 1]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])
COUNTS = [100, 10, 1]


def bound(loss, class_counts=COUNTS):
    """A loss in float64 that knows the counts."""
    loss.bind(torch.tensor(class_counts, dtype=torch.float64))
    for name, buffer in loss.named_buffers():
        setattr(loss, name, buffer.double())
    return loss


def equal(actual, expected):
    assert_close(actual, torch.as_tensor(expected, dtype=torch.float64), rtol=0, atol=2e-6)


@pytest.mark.parametrize('lam, weight, expected', [
    (0.1, 'column', -1.076300), (0.01, 'column', -1.138994), (0.5, 'column', -0.797659),
    (0.1, 'label', 2.712826)])
def test_the_regulariser_of_code_and_paper(lam, weight, expected):
    equal(bound(LADELoss(lam, weight=weight)).regulariser(LOGITS, LABELS), expected)


def test_the_loss_is_balanced_softmax_plus_the_regulariser():
    losses = bound(LADELoss(0.1, 0.1))(LOGITS, LABELS)
    equal(losses.mean(), 1.989623)
    equal(losses, torch.tensor([0.037432, 4.157075]).double() - 0.1076300)
    assert_close(bound(LADELoss(alpha=0))(LOGITS, LABELS),
                 bound(BalancedSoftmaxLoss())(LOGITS, LABELS), rtol=0, atol=1e-6)


def slow(logits, labels, counts, lam, weight):
    """R as it is written, a class and a sample at a time."""
    total, classes = sum(counts), len(counts)
    prior = [n / total for n in counts]
    value = 0
    for c in range(classes):
        mean = 0
        for z, y in zip(logits, labels.tolist()):
            v = 1 / (classes * prior[c if weight == 'column' else y])
            mean = mean + v * z[c].exp() / len(logits)
        own = [z[c] for z, y in zip(logits, labels.tolist()) if y == c]
        s = mean.log()
        r = s + lam * s ** 2 - (sum(own) / len(own) if own else 0)
        value = value + prior[c] * r
    return value


@pytest.mark.parametrize('weight', ['column', 'label'])
@pytest.mark.parametrize('lam', [0.0, 0.01, 0.5])
def test_value_and_gradient_are_those_of_a_loop(lam, weight):
    generator = torch.Generator().manual_seed(0)
    counts = [500, 83, 20, 6, 5, 1]
    logits = (3 * torch.randn(24, 6, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.multinomial(torch.tensor(counts[:5] + [0]).float(), 24, True,
                               generator=generator)      # the last class is not in the batch
    loss = LADELoss(lam, alpha=0.3, weight=weight)
    loss.bind(torch.tensor(counts, dtype=torch.float64))
    loss.prior, loss.log_prior = (torch.tensor(counts).double() / sum(counts),
                                  (torch.tensor(counts).double() / sum(counts)).log())
    found = loss(logits, labels).mean()
    prior = torch.tensor(counts).double() / sum(counts)
    expected = (F.cross_entropy(logits + prior.log(), labels)
                + 0.3 * slow(logits, labels, counts, lam, weight))
    assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert_close(*(torch.autograd.grad(value, logits)[0] for value in (found, expected)),
                 rtol=1e-10, atol=1e-12)


def test_extreme_logits_and_ten_thousand_classes_stay_finite():
    counts = [1000] + [1] * 9999
    logits = torch.full((2, 10_000), -1000.0).requires_grad_()
    loss = LADELoss(0.5)
    loss.bind(torch.tensor(counts, dtype=torch.float64))
    losses = loss(logits, torch.tensor([0, 9999]))
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad.isfinite().all()
    # Equal logits z: s_c = z - log(C pi_c) for all classes.
    prior = torch.tensor(counts).double() / sum(counts)
    s = -1000 - (10_000 * prior).log()
    expected = (prior * (s + 0.5 * s ** 2)).sum() + 1000 * (prior[0] + prior[9999])
    assert float(loss.regulariser(logits.detach(), torch.tensor([0, 9999]))) == pytest.approx(
        float(expected), rel=1e-4)
    assert math.isfinite(float(expected))


def test_the_density_ratio_is_where_the_regulariser_is_least():
    # One feature value for each class, drawn with the prior: logits of log p(x | c) / p(x).
    counts = [60, 30, 10]
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    places = torch.tensor([[.8, .1, .1], [.2, .7, .1], [.3, .3, .4]], dtype=torch.float64)
    values = torch.cat([torch.repeat_interleave(torch.arange(3), (n * p).round().long())
                        for n, p in zip(counts, places)])
    loss = bound(LADELoss(lam=0.0, weight='label'), counts)
    table = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=200, line_search_fn='strong_wolfe')

    def closure():
        optimizer.zero_grad()
        value = loss.regulariser(table[values], labels)
        value.backward()
        return value
    optimizer.step(closure)
    balanced = places.mean(dim=0)       # p(x) when all classes are equally frequent
    ratios = (places / balanced).log().T
    found = table.detach()
    # Each column is determined up to a constant, as the bound of Donsker and Varadhan is.
    assert_close(found - found.mean(dim=0), ratios - ratios.mean(dim=0), rtol=0, atol=1e-3)


@pytest.mark.parametrize('options, message', [
    (dict(lam=-1), 'lam=-1'), (dict(alpha=-0.1), 'alpha=-0.1'), (dict(weight='row'), "'row'")])
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        LADELoss(**options)
