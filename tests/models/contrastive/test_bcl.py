"""BCL against the worked value of its loss, a loop over anchors, and the parts of its classifier."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch.testing import assert_close

from ltcls.hooks.meta_gradient import MetaGradient
from ltcls.models import MixedLabels
from ltcls.models.contrastive.bcl import balanced_contrast
from ltcls.optim_wrappers import CCSAM, GNM, SAM, ImbSAM, Objective
from ltcls.registry import MODELS

COUNTS = [60, 12, 3]


def classifier(precision=None, head='LinearHead', loss='BalancedSoftmaxLoss', **options):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='BCLClassifier', backbone=dict(type='CIFARResNet', depth=8), head=dict(type=head),
        loss=dict(type=loss), precision=precision, hidden=16, dim=8, **options,
        data_preprocessor=dict(type='BatchPreprocessor', num_classes=3, mean=[0.5] * 3,
                               std=[0.25] * 3)))
    model.bind(torch.tensor(COUNTS))
    return model.train()


def batch(size=8, views=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return dict(inputs=torch.randint(0, 256, (size, views, 3, 8, 8), generator=generator,
                                     dtype=torch.uint8),
                labels=torch.randint(0, 3, (size,), generator=generator))


def unit(*rows):
    return F.normalize(torch.tensor(rows, dtype=torch.float64))


def test_the_worked_value_of_the_contrast():
    anchors = unit((1, 0), (0, 1), (1, .5), (.5, 1))
    prototypes = unit((1, .2), (0, 1), (-1, 0))
    found = balanced_contrast(anchors, torch.tensor([0, 1, 0, 1]), prototypes, 0.1)
    assert found.mean().item() == pytest.approx(0.129595, abs=1e-6)


def test_the_contrast_is_that_of_a_loop_over_anchors():
    generator = torch.Generator().manual_seed(0)
    anchors = F.normalize(torch.randn(9, 5, generator=generator, dtype=torch.float64))
    prototypes = F.normalize(torch.randn(4, 5, generator=generator, dtype=torch.float64))
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 0, 1, 0])      # one of class 2, none of class 3
    found = balanced_contrast(anchors, labels, prototypes, 0.2)
    rows, of = torch.cat([anchors, prototypes]), labels.tolist() + [0, 1, 2, 3]
    for i, value in enumerate(found):
        total, terms = 0.0, []
        for j in range(13):
            if j == i:
                continue
            similar = anchors[i] @ rows[j] / 0.2
            alike = of[j] == of[i]
            total += similar.exp() / (of.count(of[j]) - alike)
            terms += [similar] * alike
        assert_close(value, total.log() - sum(terms) / len(terms))


def test_the_contrast_stays_finite_for_alike_and_opposite_vectors():
    anchors = torch.tensor([[1.0, 0], [1, 0], [-1, 0]], requires_grad=True)
    loss = balanced_contrast(anchors, torch.tensor([0, 1, 0]), torch.eye(2), 1e-3)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(anchors.grad).all()


def test_the_loss_is_that_of_its_parts_computed_apart():
    model, data = classifier(classification=2.0, contrast=0.6, temperature=0.2), batch()
    prepared = model.data_preprocessor(dict(data), True)
    assert prepared['inputs'].shape == (8, 3, 3, 8, 8)
    losses = model(**prepared, mode='loss')['loss']

    images = (data['inputs'].transpose(0, 1) / 255 - 0.5) / 0.25      # views first
    flat = prepared['inputs'].flatten(0, 1)
    assert_close(flat.unflatten(0, (8, 3)).transpose(0, 1), images)
    # Batch norm normalises by all views of the batch together.
    features = model.backbone(flat).unflatten(0, (8, 3))
    logits = features[:, 0] @ model.head.weight.T + model.head.bias
    shifts = (torch.tensor(COUNTS) / sum(COUNTS)).log()
    plain = F.cross_entropy(logits + shifts, data['labels'], reduction='none')
    views = torch.cat([features[:, 1], features[:, 2]])
    anchors = F.normalize(model.projector(views))
    prototypes = F.normalize(model.prototype_projector(model.head.weight))
    contrast = balanced_contrast(anchors, data['labels'].repeat(2), prototypes, 0.2)
    assert_close(losses, 2 * plain + 0.6 * (contrast[:8] + contrast[8:]) / 2, rtol=1e-4, atol=1e-5)


def test_sample_weights_count_for_both_parts_and_class_weights_for_one():
    model = classifier()
    features, labels = torch.randn(4, 192), torch.tensor([0, 1, 0, 2])
    weights = torch.tensor([0.0, 1, 2, 3])
    plain = model.losses(features, labels)
    assert_close(model.losses(features, labels, weights), plain * weights)
    model.set_class_weights(torch.tensor([0.0, 1, 1]), mean='plain')
    contrast = model.contrast * model._contrast(features.unflatten(1, (3, 64))[:, 1:], labels)
    assert_close(model.losses(features, labels)[[0, 2]], contrast[[0, 2]])


def test_a_part_of_the_batch_is_contrasted_among_itself():
    model = classifier()
    features, labels = torch.randn(6, 192), torch.tensor([0, 1, 0, 2, 0, 1])
    index = torch.tensor([0, 2, 4])
    assert_close(model.losses(features, labels, index=index),
                 model.losses(features[index], labels[index]))


def test_scores_are_those_of_one_image():
    model = classifier().eval()
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    prepared = model.data_preprocessor(dict(inputs=images, labels=torch.arange(5) % 3), False)
    logits = model(prepared['inputs'])
    assert_close(model(**prepared, mode='predict')[0]['scores'], logits.softmax(1))
    views = torch.stack([prepared['inputs'], torch.zeros(5, 3, 8, 8)], dim=1)
    assert_close(model(views), logits)


@pytest.mark.parametrize('wrapper', [
    (OptimWrapper, {}), (SAM, {}), (GNM, {}), (CCSAM, dict(radius=1e-3)),
    (CCSAM, dict(radius=1e-3, perturb='all')), (ImbSAM, dict(threshold=20))],
    ids=lambda pair: ''.join([pair[0].__name__, *map(str, pair[1].values())]))
def test_views_are_trained_on_under_every_wrapper(wrapper):
    kind, options = wrapper
    precision = 'bfloat16' if kind is OptimWrapper else None
    model, data = classifier(precision, channels_last=True), batch()
    built = kind(torch.optim.SGD(model.parameters(), lr=0.02), **options)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses = [model.train_step(dict(data), built)['loss'].item() for _ in range(6)]
    assert losses[-1] < losses[0] and all(torch.isfinite(p).all() for p in model.parameters())
    # A bias before batch norm has no gradient but rounding.
    assert {name for name, p in model.named_parameters() if torch.equal(p, before[name])} <= {
        'projector.0.bias', 'prototype_projector.0.bias'}


def test_the_statistics_of_the_projectors_move_once_a_step():
    model, data = classifier(), batch()
    objective = Objective(model, model.data_preprocessor(dict(data), True))
    features = objective.features()
    norms = model.projector[1], model.prototype_projector[1], model.backbone.bn1
    for _ in range(3):
        objective.losses(features)
        objective.losses(features, index=torch.tensor([0, 1]))
        assert [int(norm.num_batches_tracked) for norm in norms] == [1, 1, 1]


@pytest.mark.parametrize('dev_loss', ['same', 'ce'])
def test_sample_weights_are_learned_on_views(dev_loss):
    model = classifier()
    first, second = (model.data_preprocessor(batch(size, seed=size), True) for size in (6, 4))
    problem = MetaGradient(model, first, second, torch.optim.SGD(model.parameters(), lr=0.05),
                           dev_loss=dev_loss)
    assert_close(problem.gradient(torch.ones(6)),
                 MetaGradient(model, first, second, torch.optim.SGD(model.parameters(), lr=0.05),
                              dev_loss=dev_loss, reverse=True).gradient(torch.ones(6)),
                 rtol=1e-3, atol=1e-6)


def test_what_cannot_be_contrasted_is_refused():
    model = classifier()
    with pytest.raises(ValueError, match="this batch has one: make train_dataloader.dataset.pipel"):
        model.losses(torch.randn(2, 64), torch.tensor([0, 1]))
    mixed = MixedLabels(torch.tensor([0]), torch.tensor([1]), torch.tensor(0.5))
    with pytest.raises(ValueError, match='set data_preprocessor.mixing=None'):
        model.losses(torch.randn(1, 192), mixed)
    with pytest.raises(ValueError, match='NCMHead has no row|ExpertHead has no row'):
        classifier(head='NCMHead')


@pytest.mark.parametrize('options', [dict(classification=-1), dict(contrast=-1), dict(temperature=0)])
def test_values_outside_their_range_are_refused(options):
    with pytest.raises(ValueError, match='BCLClassifier got classification='):
        classifier(**options)
