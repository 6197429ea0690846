"""RIDE, NCL and SHIKE against the worked values of their papers' code and against loops."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ltcls.longtail import Clock, effective_number_weights
from ltcls.losses import BalancedSoftmaxLoss, NCLLoss, RIDELoss, SHIKELoss

COUNTS = torch.tensor([100, 10, 1], dtype=torch.float64)
LOGITS = torch.tensor([[[2, 1, 0], [1.5, 0, .5], [1, .5, -.5]],
                       [[0, 1, .5], [.2, .4, 1], [0, .3, .8]]])
LABELS = torch.tensor([0, 2])


def bound(loss, counts=COUNTS, epoch=0):
    loss.bind(counts)
    loss.clock = Clock(epoch, 20)
    return loss


def random_batch(batch=7, experts=3, classes=11):
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(batch, experts, classes, generator=generator, dtype=torch.float64)
    counts = torch.randint(1, 200, (classes,), generator=generator).double()
    return logits, torch.randint(classes, (batch,), generator=generator), counts


def divergence(teacher, student):
    """KL(softmax(teacher) || softmax(student)) of two rows, term by term."""
    p, q = teacher.softmax(0), student.softmax(0)
    return sum(p[c] * (p[c] / q[c]).log() for c in range(len(p)))


@pytest.mark.parametrize('epoch, value', [(9, 19.547716), (10, 30.575460)])
def test_ride_before_and_after_its_weights_begin(epoch, value):
    loss = RIDELoss(diversity=0.2, begin=10, spread=0.05)
    loss.logit_scale = 30
    found = bound(loss, epoch=epoch)(LOGITS[:, :2], LABELS).mean()
    assert found.item() == pytest.approx(value, abs=2e-6 * value)


def test_ncl_and_both_stages_of_shike_have_the_worked_values():
    assert bound(NCLLoss(hard_share=0.67))(LOGITS[:, :2], LABELS).mean().item() == pytest.approx(
        6.686067, abs=2e-6)
    assert bound(SHIKELoss())(LOGITS, LABELS).mean().item() == pytest.approx(72.155594, abs=1e-4)
    second = bound(BalancedSoftmaxLoss())
    assert sum(second(z, LABELS).mean() for z in LOGITS.unbind(1)).item() == pytest.approx(
        6.186920, abs=2e-6)


@pytest.mark.parametrize('late', [False, True])
def test_ride_is_the_sum_of_its_loop(late):
    logits, labels, counts = random_batch()
    loss = RIDELoss(diversity=0.4, begin=3, spread=0.2, beta=0.999)
    loss.logit_scale = 2.0
    found = bound(loss, counts, epoch=3 if late else 2).double()(logits, labels)

    margins = 0.5 * (counts / counts.min()) ** -0.25
    weights = effective_number_weights(counts, 0.999) if late else torch.ones_like(counts)
    density = len(counts) * counts / counts.sum() * 0.2 + 0.8
    t = density / density.max() if late else torch.ones_like(counts)
    mean_weight = sum(weights[y] for y in labels) / len(labels)
    for z, y, value in zip(logits, labels, found):
        expected = 0
        for own in z:
            lowered = own.clone()
            lowered[y] -= 2.0 * margins[y]
            expected += weights[y] / mean_weight * F.cross_entropy(lowered[None], y[None])
            expected += -0.4 * t.mean() ** 2 * divergence(z.mean(0) / t, own / t)
        assert_close(value, expected, rtol=1e-5, atol=1e-6)       # its buffers are float32


def test_the_mean_of_rides_experts_has_no_gradient():
    logits, labels, counts = random_batch(experts=2)
    logits.requires_grad_()
    with_term, without = (
        torch.autograd.grad(bound(RIDELoss(diversity=d), counts).double()(logits, labels).sum(),
                            logits)[0] for d in (1.0, 0.0))
    # d KL(p || softmax(z)) / dz = softmax(z) - p, for p held fixed; the term is taken off.
    mean = logits.detach().mean(1, keepdim=True).softmax(2)
    assert_close(without - with_term, logits.detach().softmax(2) - mean)


def test_ncl_is_the_sum_of_its_loop():
    logits, labels, counts = random_batch()
    found = bound(NCLLoss(hard_share=0.4, factor=0.6), counts).double()(logits, labels)
    for z, y, value in zip(logits, labels, found):
        others = sorted((c for c in range(11) if c != y), key=lambda c: -z[0][c])
        hard = [int(y), *others[:3]]                    # 4 of 11
        adjusted = z + counts.log()
        masked = torch.zeros_like(adjusted)
        masked[:, hard] = adjusted[:, hard]
        expected = 0
        for u in (adjusted, masked):
            expected += sum(F.cross_entropy(row[None], y[None]) for row in u)
            expected += 0.6 / 2 * sum(divergence(u[j], u[i]) for i in range(3) for j in range(3)
                                      if i != j)
        assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_every_class_hard_counts_everything_twice():
    logits, labels, counts = random_batch()
    loss = bound(NCLLoss(hard_share=1.0, factor=0.0), counts).double()
    twice = 2 * sum(F.cross_entropy(z + counts.log(), labels, reduction='none')
                    for z in logits.unbind(1))
    assert_close(loss(logits, labels), twice, rtol=1e-5, atol=1e-6)


def test_shike_is_the_sum_of_its_loop():
    logits, labels, counts = random_batch()
    found = bound(SHIKELoss(factor=7.0), counts)(logits, labels)
    for z, y, value in zip(logits, labels, found):
        mean = z.mean(0)
        negatives = [c for c in range(11) if c != y]
        hardest = max(negatives, key=lambda c: mean[c])
        teacher = torch.stack([z[:, c].max() for c in range(11)])
        teacher[hardest], teacher[y] = mean[hardest], 0
        expected = 0
        for i, own in enumerate(z):
            suppressed = own.clone()
            suppressed[y] = -30
            expected += F.cross_entropy(own[None], y[None])
            expected += 7.0 / 11 * divergence(teacher, suppressed)
            expected += sum(divergence(z[j], own) for j in range(3) if j != i) / 11
        assert_close(value, expected)


@pytest.mark.parametrize('loss', [RIDELoss(begin=0), NCLLoss(), SHIKELoss()],
                         ids=lambda loss: type(loss).__name__)
def test_gradients_are_those_of_finite_differences(loss):
    logits, labels, counts = random_batch(batch=2, experts=3, classes=4)
    bound(loss, counts).double()
    if isinstance(loss, RIDELoss):
        loss.diversity = 0.0           # its teacher is constant in the gradient alone
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())


@pytest.mark.parametrize('loss', [RIDELoss(begin=0), NCLLoss(), SHIKELoss()],
                         ids=lambda loss: type(loss).__name__)
def test_extreme_logits_and_classes_without_images_stay_finite(loss):
    bound(loss, torch.tensor([50, 0, 0, 1], dtype=torch.float64))
    logits = torch.tensor([[[1e4, -1e4, 0, 5], [-1e4, 1e4, 0, 5]]] * 2).requires_grad_()
    found = loss(logits, torch.tensor([1, 3]))
    found.sum().backward()
    assert torch.isfinite(found).all() and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize('build, message', [
    (lambda: RIDELoss(diversity=-1), 'RIDELoss got diversity=-1'),
    (lambda: RIDELoss(spread=2), 'spread=2, beta'),
    (lambda: RIDELoss(beta=1.0), 'beta=1.0; diversity is'),
    (lambda: NCLLoss(hard_share=0), 'NCLLoss got hard_share=0'),
    (lambda: NCLLoss(factor=-1), 'factor is at least 0'),
    (lambda: SHIKELoss(factor=-1), 'SHIKELoss got factor=-1')])
def test_values_outside_their_range_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_single_expert_has_nobody_to_learn_from():
    with pytest.raises(ValueError, match='set model.backbone.experts'):
        bound(NCLLoss())(LOGITS[:, :1], LABELS)
