"""CC-SAM stage 2: worked values, the schedule, the class weights."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch import nn
from torch.testing import assert_close

from ltcls.longtail import Clock
from ltcls.models import AdversarialFeatureClassifier, BatchPreprocessor, MixedLabels
from ltcls.optim_wrappers import CCSAM, GNM, SAM, Objective

LABELS = torch.tensor([0, 1, 0, 2, 1])


def rows(values):
    return torch.tensor(values, dtype=torch.float64)


W = rows([[0.5, -0.3, 0.2], [0.1, 0.4, -0.6], [-0.2, 0.3, 0.7]])
BIAS = rows([0.05, -0.10, 0.00])
FEATURES = rows([[1.0, 0.5, -0.2], [0.3, -1.0, 0.8], [0.9, 0.2, 0.4], [-0.5, 0.6, 1.1],
                 [0.2, -0.7, 0.5]])
PAPER = dict(norm='sample', shift_weight=False, loss_weight=False)


class Flat(nn.Module):
    """The features are the input."""

    num_features = 3

    def forward(self, x):
        return x


class Exact(AdversarialFeatureClassifier):
    """In float64 throughout; remembers the features its head has seen."""

    def extract(self, inputs):
        return self.backbone(inputs)

    def logits(self, features, head=None):
        self.seen = [*getattr(self, 'seen', []), features.detach()]
        return torch.func.functional_call(self.head, head or {}, (features,))


def build(share=0.2, counts=(100, 20, 5), **options):
    model = Exact(backbone=dict(type=Flat), head=dict(type='LinearHead'),
                  loss=dict(type='CrossEntropyLoss'), data_preprocessor=BatchPreprocessor(
                      num_classes=3, mean=[0.5], std=[0.25]), **options)
    model.double()
    model.bind(counts)
    model.tail_weights = (max(counts) / rows(list(counts)) + 0.01).log() / model.divisor
    model.set_clock(Clock(0, round(1 / share), 0.0))
    with torch.no_grad():
        model.head.weight.copy_(W)
        model.head.bias.copy_(BIAS)
    return model.train()


def near(found, expected):
    assert_close(found, rows(expected), atol=1e-8, rtol=0)


def test_class_weights_all_but_leave_the_head_out():
    model = build()
    assert_close(model.tail_weights, rows([0.004975165, 0.805717958, 1.498116074]), atol=1e-9,
                 rtol=0)
    model.bind([100, 20, 5])
    assert_close(model.tail_weights, rows([0.004975165, 0.805717958, 1.498116074]),
                 atol=1e-9, rtol=0)
    assert 'tail_weights' not in model.state_dict()
    for classes, expected in ((10, 2.649), (100, 2.761)):
        counts = [int({10: 5000, 100: 500}[classes] * 0.005 ** (c / (classes - 1)))
                  for c in range(classes)]
        large = AdversarialFeatureClassifier(
            backbone=dict(type=Flat), head=dict(type='LinearHead'),
            loss=dict(type='CrossEntropyLoss'), data_preprocessor=BatchPreprocessor(
                num_classes=classes, mean=[0.5], std=[0.25]))
        large.bind(counts)
        assert float(large.tail_weights.max()) == pytest.approx(expected, abs=2e-3)


def test_the_form_of_the_code():
    model = build()
    losses = model.losses(FEATURES, LABELS)
    near(model.seen[1], [[0.997846006, 0.502784035, -0.201312205],
                         [0.368410175, -1.247872983, 1.326412087],
                         [0.897827237, 0.202427266, 0.399834686],
                         [0.284195583, 0.134560691, -0.088593837],
                         [0.256040701, -0.926213810, 1.001634853]])
    assert float(losses.detach().mean()) == pytest.approx(1.225568127, abs=1e-9)
    losses.mean().backward()
    near(model.head.weight.grad, [[-0.132414239, -0.224611103, 0.167694650],
                                  [0.000401505, 0.354336380, -0.226552605],
                                  [0.132012734, -0.129725276, 0.058857955]])
    near(model.head.bias.grad, [0.070705845, -0.197867927, 0.127162082])


def test_the_reading_of_the_paper():
    model = build(**PAPER)
    losses = model.losses(FEATURES, LABELS)
    near(model.seen[1], [[0.426618419, 1.241094975, -0.549301876],
                         [0.416769029, -1.423093312, 1.698530491],
                         [0.233891942, 0.944131389, 0.349319329],
                         [0.023454488, 0.289316925, 0.306607647],
                         [0.301315941, -1.108971775, 1.406905269]])
    assert float(losses.detach().mean()) == pytest.approx(1.380404004, abs=1e-9)
    losses.mean().backward()
    near(model.head.weight.grad, [[-0.153855157, -0.308274171, 0.207653641],
                                  [-0.001565365, 0.425195718, -0.278456473],
                                  [0.155420522, -0.116921547, 0.070802832]])
    near(model.head.bias.grad, [0.009096981, -0.189822843, 0.180725862])


def test_one_norm_over_the_batch():
    model = build(**dict(PAPER, norm='batch'))
    found = model.losses(FEATURES, LABELS).detach().mean()
    assert float(found) == pytest.approx(1.298165166, abs=1e-9)


def test_the_share_grows_with_the_epoch_up_to_its_bound():
    model = build(max_share=0.3)
    for epoch, share in ((0, 1 / 30), (5, 0.2), (8, 0.3), (29, 0.3)):
        model.set_clock(Clock(epoch, 30, epoch / 30))
        assert model.share == pytest.approx(share)
    model = build()
    model.set_clock(Clock(29, 30, 29 / 30))
    assert model.share == 1.0


def test_without_a_share_or_a_step_it_is_cross_entropy():
    expected = F.cross_entropy(FEATURES @ W.T + BIAS, LABELS, reduction='none')
    assert_close(build(max_share=0.0).losses(FEATURES, LABELS), expected)
    assert_close(build(step=0.0, loss_weight=False).losses(FEATURES, LABELS), expected)


def test_the_loss_of_a_part_and_of_mixed_labels():
    model = build(norm='sample')
    index = torch.tensor([3, 1])
    whole = model.losses(FEATURES, LABELS)
    assert_close(model.losses(FEATURES, LABELS, index=index), whole[index])
    mixed = MixedLabels(LABELS, LABELS, torch.tensor(0.3, dtype=torch.float64))
    assert_close(model.losses(FEATURES, mixed), whole)
    mixed = MixedLabels(LABELS, LABELS.roll(1), torch.tensor(1.0, dtype=torch.float64))
    assert_close(model.losses(FEATURES, mixed), whole)
    assert_close(model.losses(FEATURES, LABELS, weights=rows([2.0] * 5)), 2 * whole)


def test_a_class_without_gradient_is_not_shifted():
    features = FEATURES.clone()
    features[3] *= 1e4
    model = build()
    losses = model.losses(features, LABELS)
    assert torch.isfinite(losses).all()
    assert torch.equal(model.seen[1][3], features[3])


def test_the_losses_are_the_same_where_no_gradients_are_kept():
    expected = build().losses(FEATURES, LABELS).detach()
    with torch.no_grad():
        assert_close(build().losses(FEATURES, LABELS).detach(), expected)


def test_only_the_head_learns_and_any_wrapper_trains_it():
    for method, options in ((OptimWrapper, {}), (SAM, dict(rho=0)), (GNM, dict(rho=0))):
        model = build(frozen=['backbone'])
        wrapper = method(torch.optim.SGD(model.parameters(), lr=1.0), **options)
        given = dict(inputs=FEATURES, labels=LABELS)
        if method is OptimWrapper:
            wrapper.update_params(model(**given, mode='loss')['loss'].mean())
        else:
            wrapper.update_params(Objective(model, given))
        near(W - model.head.weight.detach(), [[-0.132414239, -0.224611103, 0.167694650],
                                              [0.000401505, 0.354336380, -0.226552605],
                                              [0.132012734, -0.129725276, 0.058857955]])


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="norm='row'; use 'class', 'sample' or 'batch'"):
        build(norm='row')
    for wrong, match in ((dict(max_share=2), 'max_share=2'), (dict(step=-1), 'step=-1'),
                         (dict(divisor=0), 'divisor=0')):
        with pytest.raises(ValueError, match=match):
            build(**wrong)
    model = build()
    with pytest.raises(ValueError, match='another wrapper than CCSAM'):
        CCSAM(torch.optim.SGD(model.parameters(), lr=1.0)).update_params(
            Objective(model, dict(inputs=FEATURES, labels=LABELS)))
