"""Cross-entropy, focal, LDAM, logit adjustment, VS, label-aware smoothing against worked values."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ltcls.longtail import effective_number_weights
from ltcls.losses import (BalancedSoftmaxLoss, CrossEntropyLoss, FocalLoss,
                          LabelAwareSmoothingLoss, LADELoss, LDAMLoss, LogitAdjustedLoss,
                          LogitGradientPenalty, VSLoss)
from ltcls.registry import LOSSES

LOGITS = torch.tensor([[2, 1, 0], [0.5, -0.5, 1]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])
COUNTS = [100, 10, 1]


def bound(loss, class_counts=COUNTS, scale=1.0):
    """A loss that knows the counts and the scale, as the classifier makes it."""
    loss.logit_scale = scale
    loss.bind(torch.tensor(class_counts, dtype=torch.float64))
    return loss


def equal(actual, expected, atol=2e-6):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    assert_close(actual.detach().double(), expected, atol=atol, rtol=0)


ALL_LOSSES = [
    CrossEntropyLoss(), FocalLoss(2.0), FocalLoss(0.5, form='sigmoid'), LDAMLoss(),
    LogitAdjustedLoss(), BalancedSoftmaxLoss(), VSLoss(), LabelAwareSmoothingLoss(),
    LabelAwareSmoothingLoss(form='paper'), LogitGradientPenalty(),
    LogitGradientPenalty(balanced=False), LADELoss(), LADELoss(weight='label'),
]


# -- cross-entropy --------------------------------------------------------------------------


def test_cross_entropy_of_each_sample_and_its_gradient():
    logits = LOGITS.clone().requires_grad_()
    losses = CrossEntropyLoss()(logits, LABELS)
    equal(losses, [0.407606, 0.604131])
    losses.sum().backward()
    assert_close(logits.grad, LOGITS.softmax(1) - F.one_hot(LABELS, 3))


def test_cross_entropy_under_mixup_is_the_one_of_the_mixed_target():
    loss = CrossEntropyLoss()
    mixed = 0.3 * loss(LOGITS, LABELS).mean() + 0.7 * loss(LOGITS, LABELS.flip(0)).mean()
    equal(mixed, 1.380868)


# -- focal ----------------------------------------------------------------------------------


@pytest.mark.parametrize('form, gamma, expected', [
    ('softmax', 0.5, [0.235834, 0.406814]),
    ('softmax', 1.0, [0.136450, 0.273943]),
    ('softmax', 2.0, [0.045678, 0.124220]),
    ('sigmoid', 0.0, [2.133337, 1.761416]),
    ('sigmoid', 0.5, [1.656816, 1.222258]),
    ('sigmoid', 1.0, [1.321775, 0.869556]),
    ('sigmoid', 2.0, [0.876959, 0.467643]),
])
def test_focal_loss_of_each_sample(form, gamma, expected):
    equal(FocalLoss(gamma, form=form)(LOGITS, LABELS), expected)


def test_focal_loss_with_exponent_zero_is_cross_entropy():
    assert_close(FocalLoss(0.0)(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS, reduction='none'))
    targets = F.one_hot(LABELS, 3).double()
    assert_close(FocalLoss(0.0, form='sigmoid')(LOGITS, LABELS),
                 F.binary_cross_entropy_with_logits(LOGITS, targets, reduction='none').sum(1))


def test_sigmoid_focal_loss_starts_at_log_two_a_class():
    equal(FocalLoss(0.0, form='sigmoid')(torch.zeros(1, 3), torch.tensor([1])), [3 * math.log(2)])


@pytest.mark.parametrize('form', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('detached', [True, False])
def test_detaching_the_focal_factor_changes_the_gradient_alone(form, detached):
    logits = LOGITS.clone().requires_grad_()
    FocalLoss(2.0, form=form, detach_factor=detached)(logits, LABELS).sum().backward()
    gradient = logits.grad
    signs = 2 * F.one_hot(LABELS, 3) - 1
    if form == 'softmax':
        p = LOGITS.softmax(1)
        right = p.gather(1, LABELS[:, None])
        slope = p - F.one_hot(LABELS, 3)                              # of cross-entropy
        expected = (1 - right) ** 2 * slope
        if not detached:      # the factor's own slope: d (1 - p) ** 2 = 2 (1 - p) p d CE
            expected = expected - 2 * (1 - right) * right * right.log() * slope
    else:
        right = torch.sigmoid(signs * LOGITS)
        slope = -signs * (1 - right)
        expected = (1 - right) ** 2 * slope
        if not detached:
            expected = expected - 2 * (1 - right) * right * right.log() * slope
    assert_close(gradient, expected)


@pytest.mark.parametrize('form', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize('margin', [20.0, 200.0])
def test_a_saturated_sample_has_a_finite_focal_gradient(form, gamma, margin):
    logits = torch.tensor([[margin, -margin], [margin, -margin]], requires_grad=True)
    losses = FocalLoss(gamma, form=form)(logits, torch.tensor([0, 1]))
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad.isfinite().all()


def test_class_balanced_cross_entropy_and_focal_are_class_weights_on_the_plain_losses():
    weights = effective_number_weights(torch.tensor(COUNTS), beta=0.9999)[LABELS]
    losses = CrossEntropyLoss()(LOGITS, LABELS)
    equal((weights * losses).mean(), 0.821858)
    equal((weights * losses).sum() / weights.sum(), 0.602175)
    focal = weights * FocalLoss(1.0, form='sigmoid')(LOGITS, LABELS)
    equal(focal, [0.035898, 2.349950])
    equal(focal.mean(), 1.192924)


# -- LDAM -----------------------------------------------------------------------------------


def test_margins_fall_with_the_fourth_root_of_the_count():
    equal(bound(LDAMLoss()).margins, [0.158114, 0.281171, 0.5])
    equal(bound(LDAMLoss(), [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]).margins,
          [0.158114, 0.179697, 0.204238, 0.232091, 0.263829, 0.299768, 0.340675, 0.387221,
           0.440497, 0.5])
    losses = bound(LDAMLoss(), [16, 1])(torch.zeros(2, 2), torch.tensor([0, 1]))
    # margins 0.25 and 0.5; with equal logits the loss is log(1 + exp(margin))
    equal(losses, torch.tensor([0.25, 0.5]).exp().log1p())


def test_ldam_takes_margins_in_cosine_units():
    cosines = torch.tensor([[0.8, 0.3, -0.2], [0.1, 0.4, 0.35]], dtype=torch.float64)
    losses = bound(LDAMLoss(), scale=30)(30 * cosines, LABELS)
    equal(losses, [0.000035, 16.500123])
    equal(losses.mean(), 8.250079)
    lowered = torch.tensor([[19.256584, 9, -6], [3, 12, -4.5]], dtype=torch.float64)
    equal(losses, F.cross_entropy(lowered, LABELS, reduction='none'))
    weights = effective_number_weights(torch.tensor(COUNTS), beta=0.9999)[LABELS]
    equal((weights * losses).sum() / weights.sum(), 16.335954)


def test_without_margin_ldam_is_cross_entropy():
    assert_close(bound(LDAMLoss(max_margin=0.0))(LOGITS, LABELS),
                 F.cross_entropy(LOGITS, LABELS, reduction='none'))


# -- logit adjustment, balanced softmax, VS -------------------------------------------------


@pytest.mark.parametrize('tau, mean', [(0.5, 1.086243), (1.0, 2.097253), (2.0, 4.358931)])
def test_logit_adjusted_loss_for_each_strength(tau, mean):
    equal(bound(LogitAdjustedLoss(tau))(LOGITS, LABELS).mean(), mean)


def test_logit_adjusted_loss_with_tau_zero_is_cross_entropy():
    assert_close(bound(LogitAdjustedLoss(tau=0.0))(LOGITS, LABELS),
                 F.cross_entropy(LOGITS, LABELS, reduction='none'))


def test_balanced_softmax_weights_the_exponentials_with_the_counts():
    losses = bound(BalancedSoftmaxLoss())(LOGITS, LABELS)
    equal(losses, [0.037432, 4.157075])
    terms = torch.tensor(COUNTS) * LOGITS.exp()
    equal(losses, -(terms.gather(1, LABELS[:, None])[:, 0] / terms.sum(1)).log())


@pytest.mark.parametrize('gamma, tau, mean', [
    (0.3, 1.0, 2.465472), (0.2, 1.2, 2.837786), (0.15, 1.25, 2.898886), (0.05, 0.75, 1.663167),
    (0.3, 0.0, 0.683549), (0.0, 1.0, 2.097253)])
def test_vs_loss_for_each_setting(gamma, tau, mean):
    equal(bound(VSLoss(gamma, tau))(LOGITS, LABELS).mean(), mean)


def test_vs_divides_most_for_the_rarest_class():
    loss = bound(VSLoss(0.3, 1.0))
    equal(loss.temperatures, [1.0, 1.995262, 3.981072])
    equal(loss(LOGITS, LABELS), [0.023417, 4.907528])


def test_vs_with_gamma_zero_is_logit_adjustment():
    assert_close(bound(VSLoss(0.0, 1.3))(LOGITS, LABELS),
                 bound(LogitAdjustedLoss(1.3))(LOGITS, LABELS))


# -- label-aware smoothing ------------------------------------------------------------------


@pytest.mark.parametrize('shape, power, expected', [
    ('concave', None, [0.4, 0.142694, 0.1]),
    ('linear', None, [0.4, 0.127273, 0.1]),
    ('convex', None, [0.4, 0.103054, 0.1]),
    ('exponent', 2.0, [0.4, 0.1 + 0.3 / 121, 0.1]),
    ('exponent', 1.0, [0.4, 0.127273, 0.1]),
])
def test_smoothing_runs_from_tail_to_head(shape, power, expected):
    equal(bound(LabelAwareSmoothingLoss(0.4, 0.1, shape, power)).smoothing, expected)


@pytest.mark.parametrize('form, losses, mean', [
    ('code', [0.807606, 0.670797], 0.739202),
    ('paper', [1.007606, 0.704131], 0.855868),
])
def test_label_aware_smoothing_of_code_and_paper(form, losses, mean):
    actual = bound(LabelAwareSmoothingLoss(0.4, 0.1, form=form))(LOGITS, LABELS)
    equal(actual, losses)
    equal(actual.mean(), mean)


def test_without_smoothing_it_is_cross_entropy():
    for form in ('code', 'paper'):
        loss = bound(LabelAwareSmoothingLoss(head=0.0, tail=0.0, form=form))
        assert_close(loss(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS, reduction='none'))


def test_equal_counts_give_ordinary_label_smoothing_by_the_head_value():
    loss = bound(LabelAwareSmoothingLoss(head=0.2, tail=0.0), [7, 7, 7])
    equal(loss(LOGITS, LABELS),
          F.cross_entropy(LOGITS, LABELS, reduction='none', label_smoothing=0.2))


# -- what holds for all of them -------------------------------------------------------------


@pytest.mark.parametrize('loss', ALL_LOSSES, ids=lambda loss: type(loss).__name__)
class TestEveryLoss:

    def test_gradient_agrees_with_finite_differences(self, loss):
        bound(loss, scale=2.0)
        logits = LOGITS.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda z: loss(z, LABELS), logits)

    def test_permuting_samples_or_classes_permutes_the_losses(self, loss):
        expected = bound(loss)(LOGITS, LABELS)
        assert_close(loss(LOGITS.flip(0), LABELS.flip(0)), expected.flip(0))
        bound(loss, COUNTS[::-1])
        assert_close(loss(LOGITS.flip(1), 2 - LABELS), expected)

    def test_a_common_shift_of_the_logits_matters_to_sigmoid_forms_alone(self, loss):
        if type(loss) in (VSLoss, LADELoss):
            return      # temperatures that differ by class; a regulariser of the logits' size
        same = torch.allclose(bound(loss)(LOGITS + 3, LABELS), loss(LOGITS, LABELS))
        assert same == (getattr(loss, 'form', '') != 'sigmoid')

    @pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
    def test_autocast_changes_nothing(self, loss, dtype):
        bound(loss, scale=30)
        logits = (10 * LOGITS).float()
        expected = loss(logits, LABELS)
        with torch.autocast('cpu', dtype=dtype):
            actual = loss(logits, LABELS)
        assert actual.dtype == torch.float32
        assert_close(actual, expected, rtol=0, atol=0)

    def test_a_class_without_images_leaves_every_number_finite(self, loss):
        bound(loss, [100, 0, 1])
        logits = LOGITS.clone().requires_grad_()
        losses = loss(logits, LABELS)
        losses.sum().backward()
        assert losses.isfinite().all() and logits.grad.isfinite().all()

    def test_nothing_of_the_counts_is_kept_in_a_checkpoint(self, loss):
        bound(bound(loss), COUNTS[::-1])
        assert not loss.state_dict()
        assert all(buffer.dtype == torch.float32 for buffer in loss.buffers())


def test_losses_are_built_by_name():
    loss = LOSSES.build(dict(type='LDAMLoss', max_margin=0.3))
    assert isinstance(loss, LDAMLoss) and loss.max_margin == 0.3


def test_defaults_are_the_documented_ones():
    assert FocalLoss().gamma == 1 and LogitAdjustedLoss().tau == 1
    assert (VSLoss().gamma, VSLoss().tau) == (0.3, 1)
    smoothing = LabelAwareSmoothingLoss()
    assert (smoothing.head, smoothing.tail) == (0.3, 0)


@pytest.mark.parametrize('build, message', [
    (lambda: FocalLoss(-1.0), 'gamma=-1'),
    (lambda: FocalLoss(form='tanh'), "form='tanh'"),
    (lambda: LDAMLoss(-0.5), 'max_margin=-0.5'),
    (lambda: VSLoss(gamma=-0.1), 'gamma=-0.1'),
    (lambda: LabelAwareSmoothingLoss(head=1.5), 'head=1.5'),
    (lambda: LabelAwareSmoothingLoss(shape='sine'), "shape='sine'"),
    (lambda: LabelAwareSmoothingLoss(shape='exponent'), 'power=None'),
    (lambda: LabelAwareSmoothingLoss(power=2.0), 'power=2'),
    (lambda: LabelAwareSmoothingLoss(form='book'), "form='book'"),
])
def test_a_wrong_option_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
