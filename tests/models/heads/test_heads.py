"""Every head against worked values."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call
from torch.testing import assert_close

from ltcls.longtail import LongTailModule
from ltcls.models.heads import (CausalNormHead, CosineDisAlignHead, CosineHead,
                                CosineLogitAdjustedHead, CosineLWSHead, DisAlignHead, LinearHead,
                                LogitAdjustedHead, LWSHead, NCMHead, TauNormHead)
from ltcls.registry import MODELS

FEATURES = torch.tensor([[1, 2, -1], [0.5, -0.5, 2]], dtype=torch.float64)
WEIGHT = torch.tensor([[1, 0, 1], [0, 2, -1], [3, 1, 0], [-1, 1, 1]], dtype=torch.float64)
PLANE_FEATURES = torch.tensor([[1, 1], [2, 0]], dtype=torch.float64)
PLANE_WEIGHT = torch.tensor([[3, 4], [0, 2], [-1, 0]], dtype=torch.float64)
COUNTS = [100, 10, 1]
HEADS = [LinearHead, CosineHead, LWSHead, CosineLWSHead, TauNormHead, LogitAdjustedHead,
         CosineLogitAdjustedHead, NCMHead, DisAlignHead, CosineDisAlignHead, CausalNormHead]


def with_weight(head_type, weight, bias=None, **options):
    """A float64 head with the given weight [C, D] and bias [C], loaded as from a checkpoint."""
    if 'Cosine' not in head_type.__name__:
        options['bias'] = bias is not None
    head = head_type(weight.size(1), weight.size(0), **options).double()
    state = dict(weight=weight) if bias is None else dict(weight=weight, bias=bias)
    unknown = head.load_state_dict(state, strict=False)
    assert not unknown.unexpected_keys
    return head


def equal(actual, expected, atol=2e-6):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    assert_close(actual.detach().double(), expected, atol=atol, rtol=0)


# -- linear ---------------------------------------------------------------------------------


def test_linear_logits_are_products_plus_bias():
    bias = torch.tensor([0.5, 0.0, -1.0, 2.0], dtype=torch.float64)
    equal(with_weight(LinearHead, WEIGHT, bias)(FEATURES), FEATURES @ WEIGHT.T + bias)
    equal(with_weight(LinearHead, WEIGHT)(FEATURES), [[0, 5, 5, 0], [2.5, -3, 1, 1]])


@pytest.mark.parametrize('head', [LinearHead, CosineHead])
def test_weights_for_prompt_tuning_start_as_a_narrow_normal(head):
    torch.manual_seed(0)
    weight = head(200, 500, init='normal').weight
    assert weight.mean().abs() < 2e-4 and weight.std().item() == pytest.approx(0.02, rel=0.01)
    with pytest.raises(ValueError, match="init='wide'"):
        head(2, 2, init='wide')


def test_linear_weights_start_with_variance_two_over_the_features():
    torch.manual_seed(0)
    head = LinearHead(64, 2000)
    assert abs(head.weight.std().item() / math.sqrt(2 / 64) - 1) < 0.01
    assert head.bias.abs().max() <= 1 / 8
    assert abs(head.bias.std().item() / (1 / 8 / math.sqrt(3)) - 1) < 0.05


def test_torch_initialisation_has_the_range_of_a_linear_layer():
    torch.manual_seed(0)
    head = LinearHead(64, 2000, init='torch')
    bound = torch.nn.Linear(64, 2000).weight.abs().max()
    assert abs(head.weight.abs().max() / bound - 1) < 1e-3


def test_prior_bias_gives_every_class_one_over_the_number_of_classes():
    head = LinearHead(64, 10, bias_init='prior')
    equal(torch.sigmoid(head(torch.zeros(1, 64))), torch.full((1, 10), 0.1))
    equal(LinearHead(64, 10, bias_init=0.0).bias, torch.zeros(10))


# -- cosine ---------------------------------------------------------------------------------


def test_cosine_logits_are_scaled_cosines():
    equal(with_weight(CosineHead, WEIGHT, scale=1)(FEATURES),
          [[0.000000000, 0.912870929, 0.645497224, 0.000000000],
           [0.833333333, -0.632455532, 0.149071198, 0.272165527]], atol=1e-8)
    plane = torch.tensor([[0.989949, 0.707107, -0.707107], [0.6, 0, -1]], dtype=torch.float64)
    equal(with_weight(CosineHead, PLANE_WEIGHT, scale=30)(PLANE_FEATURES), 30 * plane, atol=2e-5)


def test_cosine_logits_ignore_the_lengths_of_features_and_rows():
    head = with_weight(CosineHead, WEIGHT)
    longer = with_weight(CosineHead, WEIGHT * torch.tensor([[2.0], [0.1], [7.0], [1.0]]))
    assert_close(longer(5 * FEATURES), head(FEATURES))


def test_cosine_rows_start_at_unit_length_from_a_cube():
    torch.manual_seed(0)
    weight = CosineHead(2, 20_000).weight
    assert_close(weight.norm(dim=1), torch.ones(20_000))
    # Directions of points of a square crowd at its diagonals: E|cos sin| is log 2 / 2, not 1 / pi.
    assert abs(weight.prod(dim=1).abs().mean().item() - math.log(2) / 2) < 0.004


@pytest.mark.parametrize('head_type', [CosineHead, CosineLWSHead, CosineLogitAdjustedHead])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_cosines_stay_in_float32_under_autocast(head_type, dtype):
    torch.manual_seed(0)
    head = head_type(16, 5).train()
    features = torch.randn(4, 16)
    expected = head(features)
    with torch.autocast('cpu', dtype=dtype):
        assert torch.equal(head(features), expected)
        half = head(features.to(dtype))
    assert half.dtype == torch.float32
    assert_close(half, head(features.to(dtype).float()), rtol=0, atol=0)


def test_a_feature_of_zeros_has_a_finite_gradient():
    features = torch.zeros(2, 3, requires_grad=True)
    CosineHead(3, 4)(features).sum().backward()
    assert features.grad.isfinite().all()


# -- LWS ------------------------------------------------------------------------------------


def test_lws_scales_the_logits_of_each_class():
    head = with_weight(LWSHead, WEIGHT)
    head.scales.data.copy_(torch.tensor([1.2, 0.8, 1.0, 1.5]))
    equal(head(FEATURES), [[0, 4, 5, 0], [3, -2.4, 1, 1.5]])


def test_lws_scales_the_bias_too():
    bias = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    head = with_weight(LWSHead, torch.eye(3, dtype=torch.float64), bias)
    head.scales.data.copy_(torch.tensor([0.5, 1.0, 2.0]))
    z = torch.tensor([[2, 1, 0], [0.5, -0.5, 1]], dtype=torch.float64)
    equal(head(z - bias), [[1, 1, 0], [0.25, -0.5, 2]])


def test_lws_over_cosines_scales_what_the_cosine_head_returns():
    head = with_weight(CosineLWSHead, WEIGHT, scale=30)
    scales = torch.tensor([1.2, 0.8, 1.0, 1.5])
    head.scales.data.copy_(scales)
    equal(head(FEATURES), scales * with_weight(CosineHead, WEIGHT, scale=30)(FEATURES))


@pytest.mark.parametrize('head_type', [LWSHead, CosineLWSHead])
def test_only_the_scales_of_lws_train_and_they_start_at_one(head_type):
    head = head_type(3, 4)
    assert [name for name, p in head.named_parameters() if p.requires_grad] == ['scales']
    assert torch.equal(head.scales, torch.ones(4))
    assert all(p.requires_grad for p in head_type(3, 4, trainable_fc=True).parameters())


# -- DisAlign -------------------------------------------------------------------------------


def test_disalign_gates_an_affine_map_of_the_logits():
    features = torch.tensor([[1, 2], [0, 1]], dtype=torch.float64)
    logits = torch.tensor([[2, 1, 0], [0.5, -0.5, 1]], dtype=torch.float64)
    head = with_weight(DisAlignHead, torch.linalg.solve(features, logits).T)
    equal(head(features), logits)                  # at the start nothing is corrected
    head.scales.data.copy_(torch.tensor([0.9, 1.1, 1.3]))
    head.shifts.data.copy_(torch.tensor([-0.1, 0, 0.2]))
    head.confidence.weight.data.copy_(torch.tensor([[0.5, -0.25]]))
    head.confidence.bias.data.fill_(0.1)
    found = head(features)
    equal(found, [[1.842506, 1.052498, 0.104996], [0.430614, -0.523129, 1.231285]])
    losses = F.cross_entropy(found, torch.tensor([0, 2]), reduction='none')
    weights = 3 * torch.tensor([0.003731, 0.937140], dtype=torch.float64)
    equal((weights * losses).mean(), 0.682650)
    equal((weights * losses).sum() / weights.sum(), 0.483701)


def test_disalign_over_cosines_corrects_what_the_cosine_head_returns():
    head = with_weight(CosineDisAlignHead, WEIGHT, scale=20)
    logits = with_weight(CosineHead, WEIGHT, scale=20)(FEATURES)
    equal(head(FEATURES), logits)
    head.scales.data.copy_(torch.tensor([1.2, 0.8, 1.0, 1.5]))
    head.shifts.data.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
    gate = torch.sigmoid(FEATURES @ head.confidence.weight[0] + head.confidence.bias)[:, None]
    equal(head(FEATURES),
          gate * (head.scales * logits + head.shifts) + (1 - gate) * logits)


@pytest.mark.parametrize('head_type', [DisAlignHead, CosineDisAlignHead])
def test_the_classifier_under_disalign_is_not_trained(head_type):
    head = head_type(3, 4)
    trained = [name for name, p in head.named_parameters() if p.requires_grad]
    assert trained == ['scales', 'shifts', 'confidence.weight', 'confidence.bias']


# -- De-confound-TDE ------------------------------------------------------------------------


def causal_norm(alpha, momentum=0.9):
    head = CausalNormHead(4, 2, alpha=alpha, momentum=momentum).double()
    head.weight.data.copy_(torch.tensor([[1, 0, 2, 2], [0, 1, -1, 1]]))
    head.running_feature.copy_(torch.tensor([1, 1, 0, 2]))
    return head


@pytest.mark.parametrize('alpha, expected', [
    (0.0, [10.249583, 11.740617]), (1.0, [-0.775758, 0.775758]), (1.5, [-6.288428, -4.706672]),
    (3.0, [-22.826438, -21.153962])])
def test_tde_takes_the_mean_direction_out_of_each_part(alpha, expected):
    features = torch.tensor([[3, 4, 0, 5]], dtype=torch.float64)
    equal(causal_norm(alpha).eval()(features), [expected])
    equal(causal_norm(alpha).train()(features), [[10.249583, 11.740617]])


def test_the_running_feature_follows_the_batches_of_training_alone():
    head = CausalNormHead(2, 3, heads=1, alpha=1.0).train()
    for mean in ([1.0, 2.0], [3.0, 0.0]):
        spread = torch.tensor([[-5.0, 1.0], [5.0, -1.0]])
        features = (torch.tensor(mean) + spread).requires_grad_()
        head(features).sum().backward()
        assert features.grad.isfinite().all()
    equal(head.running_feature, [3.9, 1.8])
    head.eval()(torch.ones(2, 2))
    equal(head.running_feature, [3.9, 1.8])
    assert 'running_feature' in head.state_dict()


def test_tde_of_a_head_that_has_seen_nothing_is_the_plain_one():
    torch.manual_seed(0)
    head = CausalNormHead(4, 3, alpha=2.0).eval()
    features = torch.randn(5, 4)
    found = head(features)
    head.alpha = 0.0
    assert torch.equal(found, head(features))


def test_the_parts_are_those_of_the_formula():
    torch.manual_seed(0)
    head = CausalNormHead(6, 4, heads=3, scale=5.0, gamma=0.1, alpha=0.7).double().eval()
    head.running_feature.copy_(torch.randn(6))
    x, w, m = torch.randn(6, dtype=torch.float64), head.weight, head.running_feature
    for c in range(4):
        total = 0
        for part in (slice(0, 2), slice(2, 4), slice(4, 6)):
            u, d = x[part] / x[part].norm(), m[part] / m[part].norm()
            total += (u - 0.7 * (u @ d) * d) @ w[c, part] / (w[c, part].norm() + 0.1)
        equal(head(x[None])[0, c], 5 / 3 * total.detach(), atol=1e-6)


# -- tau-norm -------------------------------------------------------------------------------


@pytest.mark.parametrize('tau, expected', [
    (0.5, [[0.000000000, 3.343701525, 2.811706626, 0.000000000],
           [2.102241038, -2.006220915, 0.562341325, 0.759835686]]),
    (1.0, [[0.000000000, 2.236067977, 1.581138830, 0.000000000],
           [1.767766953, -1.341640786, 0.316227766, 0.577350269]]),
])
def test_tau_norm_divides_by_a_power_of_the_row_norm(tau, expected):
    equal(with_weight(TauNormHead, WEIGHT, tau=tau)(FEATURES), expected, atol=1e-8)


@pytest.mark.parametrize('tau, expected', [
    (0.5, [[3.130495, 1.414214, -1], [2.683282, 0, -2]]),
    (0.7, [[2.268919, 1.231144, -1], [1.944788, 0, -2]]),
    (1.0, [[1.4, 1, -1], [1.2, 0, -2]]),
])
def test_tau_norm_in_the_plane(tau, expected):
    equal(with_weight(TauNormHead, PLANE_WEIGHT, tau=tau)(PLANE_FEATURES), expected)


def test_tau_norm_lies_between_the_linear_and_the_cosine_head():
    equal(with_weight(TauNormHead, WEIGHT, tau=0.0)(FEATURES),
          with_weight(LinearHead, WEIGHT)(FEATURES))
    lengths = FEATURES.norm(dim=1, keepdim=True)
    equal(with_weight(TauNormHead, WEIGHT, tau=1.0)(FEATURES),
          lengths * with_weight(CosineHead, WEIGHT, scale=1)(FEATURES))
    assert not any(p.requires_grad for p in TauNormHead(3, 4).parameters())


def test_tau_norm_adds_the_bias_as_it_is():
    bias = torch.tensor([0.5, -0.25, 0.0, 2.0], dtype=torch.float64)
    head = with_weight(TauNormHead, WEIGHT, bias, tau=0.5)
    equal(head(FEATURES), with_weight(TauNormHead, WEIGHT, tau=0.5)(FEATURES) + bias)
    assert list(head.state_dict()) == ['weight', 'bias'] and not head.bias.requires_grad


def test_tau_norm_of_a_row_of_zeros_is_zero():
    head = with_weight(TauNormHead, torch.zeros(2, 3, dtype=torch.float64), tau=1.0)
    equal(head(FEATURES), torch.zeros(2, 2))


# -- post-hoc logit adjustment --------------------------------------------------------------


@pytest.mark.parametrize('head_type, source', [
    (LogitAdjustedHead, LinearHead), (CosineLogitAdjustedHead, CosineHead)])
def test_adjusted_heads_differ_from_their_source_in_eval_mode_alone(head_type, source):
    weight = torch.randn(3, 5, dtype=torch.float64)
    features = torch.randn(4, 5, dtype=torch.float64)
    plain = with_weight(source, weight)(features)
    head = with_weight(head_type, weight, tau=1.5)
    head.bind(torch.tensor(COUNTS, dtype=torch.float64))
    assert_close(head.train()(features), plain)
    log_prior = (torch.tensor(COUNTS, dtype=torch.float64) / 111).log()
    equal(head.eval()(features), plain - 1.5 * log_prior)


def test_adjusted_logits_by_hand_and_their_probabilities():
    head = with_weight(LogitAdjustedHead, torch.eye(3, dtype=torch.float64), tau=1.0).eval()
    head.bind(torch.tensor(COUNTS, dtype=torch.float64))
    z = torch.tensor([[2, 1, 0], [0.5, -0.5, 1]], dtype=torch.float64)
    equal(head(z), [[2.104360, 3.406945, 4.709530], [0.604360, 1.906945, 5.709530]])
    equal(head(z).softmax(1), [[0.054908, 0.201995, 0.743097], [0.005898, 0.021697, 0.972405]])
    assert head(z).argmax(1).tolist() == [2, 2]


def test_adjustment_keeps_nothing_in_the_checkpoint_and_follows_new_counts():
    head = LogitAdjustedHead(3, 2).eval()
    head.bind(torch.tensor([9.0, 1.0], dtype=torch.float64))
    head.bind(torch.tensor([1.0, 1.0], dtype=torch.float64))
    equal(head.log_prior, [-math.log(2)] * 2)
    assert set(head.state_dict()) == {'weight', 'bias'}


def test_a_class_without_images_does_not_win_every_time():
    head = with_weight(LogitAdjustedHead, torch.eye(2, dtype=torch.float64)).eval()
    head.bind(torch.tensor([10.0, 0.0], dtype=torch.float64))
    assert head(torch.tensor([[20.0, 0.0]], dtype=torch.float64)).argmax().item() == 0


def test_an_adjusted_head_that_knows_no_counts_says_so():
    with pytest.raises(RuntimeError, match='bind'):
        LogitAdjustedHead(3, 2).eval()(torch.zeros(1, 3))


# -- nearest class mean ---------------------------------------------------------------------


TRAIN = torch.tensor([[1, 0], [3, 0], [0, 2]], dtype=torch.float64)
TRAIN_LABELS = torch.tensor([0, 0, 1])
QUERY = torch.tensor([[2, 1]], dtype=torch.float64)


def fitted(normalise, batches=None, num_classes=2):
    head = NCMHead(2, num_classes, normalise=normalise).double()
    head.fit(batches or [(TRAIN, TRAIN_LABELS)])
    return head


def test_ncm_of_centred_normalised_features():
    head = fitted('cl2n')
    equal(head.center, TRAIN.mean(0))
    equal(head.prototypes, [[0.240632, -0.632909], [-0.707107, 0.707107]])
    equal(head(QUERY), [[-1.594113, -2.632456]])


def test_ncm_of_plain_and_of_normalised_features():
    equal(fitted('none')(QUERY), [[-1, -5]])
    head = fitted('l2')
    equal(head.prototypes, [[1, 0], [0, 1]])
    a, b = 2 / math.sqrt(5), 1 / math.sqrt(5)
    equal(head(QUERY), [[-((1 - a) ** 2 + b ** 2), -(a ** 2 + (1 - b) ** 2)]])


@pytest.mark.parametrize('normalise', ['cl2n', 'l2', 'none'])
def test_ncm_does_not_depend_on_how_the_data_is_cut(normalise):
    torch.manual_seed(0)
    features, labels = torch.randn(30, 2, dtype=torch.float64), torch.arange(30) % 3
    whole = fitted(normalise, [(features, labels)], 3)
    parts = fitted(normalise, list(zip(features.split(7), labels.split(7))), 3)
    assert_close(parts.prototypes, whole.prototypes)
    assert_close(parts.center, whole.center)


def test_ncm_adds_up_the_sums_of_ranks():
    torch.manual_seed(0)
    features, labels = torch.randn(30, 2, dtype=torch.float64), torch.arange(30) % 3
    expected = fitted('cl2n', [(features, labels)], 3)
    halves = [(features[0::2], labels[0::2]), (features[1::2], labels[1::2])]
    # What the second rank would add: its own sums for the center, then those for the means.
    other = [F.pad(halves[1][0], (0, 1), value=1.0).sum(0)]
    means = torch.zeros(3, 3, dtype=torch.float64)
    means.index_add_(0, halves[1][1], F.pad(expected.normalised(halves[1][0]), (0, 1), value=1.0))
    other.append(means)
    head = NCMHead(2, 3).double()
    head.fit([halves[0]], all_reduce=lambda sums: sums.add_(other.pop(0)))
    assert_close(head.prototypes, expected.prototypes)
    assert_close(head.center, expected.center)


def test_ncm_never_predicts_a_class_without_images():
    with pytest.warns(UserWarning, match=r'classes \[1\]'):
        head = fitted('none', [(TRAIN, torch.tensor([0, 0, 2]))], 3)
    scores = head(QUERY).softmax(1)
    assert scores[0, 1] == 0 and scores.isfinite().all()
    assert head(QUERY).argmax().item() == 0


def test_ncm_means_are_part_of_the_checkpoint():
    head = NCMHead(2, 2).double()
    head.load_state_dict(fitted('cl2n').state_dict())
    equal(head(QUERY), [[-1.594113, -2.632456]])


# -- what holds for all of them -------------------------------------------------------------


@pytest.mark.parametrize('head_type', HEADS)
def test_every_head_is_built_by_name_and_has_a_scale(head_type):
    head = MODELS.build(dict(type=head_type.__name__, num_features=6, num_classes=4))
    assert type(head) is head_type and isinstance(head, LongTailModule)
    assert head.scale == (30.0 if 'Cosine' in head_type.__name__ else
                          16.0 if head_type is CausalNormHead else 1.0)
    assert isinstance(head.scale, float)
    assert head(torch.randn(5, 6)).shape == (5, 4)


@pytest.mark.parametrize('head_type', HEADS)
def test_a_call_with_replaced_tensors_equals_a_head_that_holds_them(head_type):
    torch.manual_seed(0)
    head, other = head_type(6, 4).train(), head_type(6, 4).train()
    features = torch.randn(5, 6)
    replaced = {name: t + 0.1 for name, t in head.state_dict().items()}
    other.load_state_dict(replaced)
    assert_close(functional_call(head, replaced, (features,)), other(features))


@pytest.mark.parametrize('source, target', [
    (LinearHead, LWSHead), (LinearHead, LogitAdjustedHead), (LinearHead, TauNormHead),
    (CosineHead, TauNormHead), (CosineHead, CosineLWSHead), (CosineHead, CosineLogitAdjustedHead),
    (LinearHead, DisAlignHead), (CosineHead, CosineDisAlignHead)])
def test_a_later_stage_takes_the_trained_weights_by_name(source, target):
    trained, head = source(6, 4), target(6, 4)
    head.load_state_dict(trained.state_dict(), strict=False)
    assert torch.equal(head.weight, trained.weight)
    if getattr(head, 'bias', None) is not None:
        assert torch.equal(head.bias, trained.bias)
    missing = set(head.state_dict()) - set(trained.state_dict())
    assert missing <= {'scales', 'shifts', 'confidence.weight', 'confidence.bias'}


def test_defaults_of_tau_are_the_documented_ones():
    assert TauNormHead(2, 2).tau == 0.7 and LogitAdjustedHead(2, 2).tau == 1


@pytest.mark.parametrize('build, message', [
    (lambda: CosineHead(3, 2, scale=0), 'scale=0'),
    (lambda: LinearHead(3, 2, init='zeros'), "init='zeros'"),
    (lambda: LinearHead(3, 2, bias_init='focal'), "bias_init='focal'"),
    (lambda: LinearHead(3, 2, bias=False, bias_init='prior'), 'bias=False'),
    (lambda: TauNormHead(3, 2, tau=-1), 'tau=-1'),
    (lambda: NCMHead(3, 2, normalise='l1'), "normalise='l1'"),
    (lambda: CausalNormHead(5, 2), 'heads=2 for 5 features'),
    (lambda: CausalNormHead(4, 2, scale=0), 'scale=0'),
    (lambda: CausalNormHead(4, 2, momentum=1), 'momentum=1'),
])
def test_a_wrong_option_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
