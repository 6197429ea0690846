"""GPaCo against the worked value of its loss, a loop over anchors, and what becomes of its queue."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch.testing import assert_close
from two_ranks import on_two_ranks

from ltcls.hooks.meta_gradient import MetaGradient
from ltcls.models import DistributedClassifier
from ltcls.models.contrastive.paco import parametric_contrast
from ltcls.optim_wrappers import CCSAM, GNM, SAM, ImbSAM
from ltcls.registry import MODELS

COUNTS = [60, 12, 3]


def classifier(precision=None, loss='BalancedSoftmaxLoss', queue=20, **options):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='GPaCoClassifier', backbone=dict(type='CIFARResNet', depth=8),
        head=dict(type='LinearHead'), loss=dict(type=loss), precision=precision, dim=8,
        queue=queue, **options, data_preprocessor=dict(
            type='BatchPreprocessor', num_classes=3, mean=[0.5] * 3, std=[0.25] * 3)))
    model.bind(torch.tensor(COUNTS))
    return model.train()


def batch(size=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return dict(inputs=torch.randint(0, 256, (size, 2, 3, 8, 8), generator=generator,
                                     dtype=torch.uint8),
                labels=torch.randint(0, 3, (size,), generator=generator))


def unit(*rows):
    return F.normalize(torch.tensor(rows, dtype=torch.float64))


def test_the_worked_value_of_both_views_with_a_queue():
    anchors = unit((1, 0), (0, 1), (1, .5), (.5, 1))
    queue, of = unit((1, 1), (-1, 0)), torch.tensor([0, 2])
    prior = torch.tensor([100, 10, 1], dtype=torch.float64) / 111
    logits = torch.tensor([[1, 0, -1], [.5, 1, 0], [.8, .1, -.5], [.2, .9, 0]]) + prior.log()
    found = parametric_contrast(logits, anchors, torch.tensor([0, 1, 0, 1]), queue, of, 0.2, 0.05)
    assert found.mean().item() == pytest.approx(5.277727, abs=1e-6)


def test_the_loss_is_that_of_a_loop_over_anchors():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    anchors, queue, logits = F.normalize(draw(6, 4)), F.normalize(draw(5, 4)), draw(6, 3)
    labels, of = torch.tensor([0, 1, 0, 0, 1, 2]), torch.tensor([0, 0, 1, -1, -1])
    found = parametric_contrast(logits, anchors, labels, queue, of, 0.3, 0.2)
    rows, known = torch.cat([anchors, queue]), labels.tolist() + of.tolist()
    for i, value in enumerate(found):
        keys = {('class', c): logits[i, c] for c in range(3)}
        keys |= {j: anchors[i] @ rows[j] / 0.3 for j in range(11) if j != i and known[j] >= 0}
        normal = sum(key.exp() for key in keys.values()).log()
        targets = {('class', known[i]): 1.0}
        targets |= {j: 0.2 for j in keys if isinstance(j, int) and known[j] == known[i]}
        total = sum(weight * (keys[key] - normal) for key, weight in targets.items())
        assert_close(value, -total / sum(targets.values()))


def test_without_images_it_is_balanced_softmax():
    logits, labels = torch.randn(1, 3), torch.tensor([1])
    found = parametric_contrast(logits, torch.ones(1, 2), labels, torch.zeros(4, 2),
                                torch.full((4,), -1), 0.1, 0.05)
    assert_close(found, F.cross_entropy(logits, labels, reduction='none'))


def test_the_loss_is_that_of_its_parts_computed_apart():
    model, data = classifier(alpha=0.1, temperature=0.3), batch()
    prepared = model.data_preprocessor(dict(data), True)
    for earlier in (False, True):       # with an empty queue, and with one
        queue, of = model.queue.clone(), model.queue_labels.clone()
        assert bool((of >= 0).any()) == earlier
        losses = model(**prepared, mode='loss')['loss']
        features = model.backbone(prepared['inputs'].flatten(0, 1)).unflatten(0, (8, 2))
        flat = torch.cat([features[:, 0], features[:, 1]])
        vectors = F.normalize(model.projector(flat))
        logits = (flat @ model.head.weight.T + model.head.bias
                  + (torch.tensor(COUNTS) / sum(COUNTS)).log())
        expected = parametric_contrast(logits, vectors, data['labels'].repeat(2), queue, of, 0.3, 0.1)
        assert_close(losses, (expected[:8] + expected[8:]) / 2, rtol=1e-4, atol=1e-5)
        assert_close(model.queue, torch.cat([vectors[8:], queue])[:20], rtol=1e-4, atol=1e-5)
        assert model.queue_labels.tolist() == (data['labels'].tolist() + of.tolist())[:20]
    assert not model.queue.requires_grad


def test_the_queue_travels_in_the_checkpoint():
    model = classifier()
    model.train_step(batch(), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    other = classifier()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.queue, model.queue)
    assert other.queue_labels.tolist() == model.queue_labels.tolist() != [-1] * 20


def test_weights_multiply_the_losses():
    model = classifier(queue=0)
    features, labels = torch.randn(4, 128), torch.tensor([0, 1, 0, 2])
    plain = model.losses(features, labels)
    weights = torch.tensor([0.0, 1, 2, 3])
    assert_close(model.losses(features, labels, weights), plain * weights)
    model.set_class_weights(torch.tensor([1.0, 2, 4]))
    factor = torch.tensor([1.0, 2, 1, 4]) / 2
    assert_close(model.losses(features, labels, weights), plain * weights * factor)
    index = torch.tensor([1, 3])
    model.set_class_weights(None)
    assert_close(model.losses(features, labels, index=index),
                 model.losses(features[index], labels[index]))


@pytest.mark.parametrize('wrapper', [
    (OptimWrapper, {}), (SAM, {}), (GNM, {}), (CCSAM, dict(radius=1e-3, perturb='all')),
    (ImbSAM, dict(threshold=20))], ids=lambda pair: pair[0].__name__)
def test_views_are_trained_on_under_every_wrapper_and_queued_once_a_step(wrapper):
    kind, options = wrapper
    precision = 'bfloat16' if kind is OptimWrapper else None
    model, data = classifier(precision), batch()
    built = kind(torch.optim.SGD(model.parameters(), lr=0.02), **options)
    losses = [model.train_step(dict(data), built)['loss'].item()]
    if kind is not CCSAM:               # which looks at one class at a time
        assert (model.queue_labels >= 0).sum() == 8
    losses += [model.train_step(dict(data), built)['loss'].item() for _ in range(7)]
    assert losses[-1] < losses[2] and all(torch.isfinite(p).all() for p in model.parameters())


def test_learning_sample_weights_leaves_the_queue_alone():
    model = classifier()
    model.train_step(batch(), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01)))
    queue = model.queue.clone()
    first, second = (model.data_preprocessor(batch(size, seed=size), True) for size in (6, 4))
    found = [MetaGradient(model, first, second, torch.optim.SGD(model.parameters(), lr=0.05),
                          dev_loss=dev_loss, reverse=reverse).gradient(torch.ones(6))
             for dev_loss in ('same', 'ce') for reverse in (False, True)]
    assert torch.equal(model.queue, queue)
    for fast, slow in (found[:2], found[2:]):
        assert_close(fast, slow, rtol=1e-3, atol=1e-6)


def test_what_cannot_be_contrasted_is_refused():
    model = classifier()
    with pytest.raises(ValueError, match='GPaCoClassifier contrasts views of an image, and this bat'):
        model.losses(torch.randn(2, 64), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match='use another wrapper than CCSAM'):
        model.train_step(batch(), CCSAM(torch.optim.SGD(model.parameters(), lr=0.1)))
    with pytest.raises(ValueError, match='CrossEntropyLoss adjusts no logits'):
        classifier(loss='CrossEntropyLoss')
    for options in (dict(alpha=-1), dict(temperature=0), dict(queue=-1)):
        with pytest.raises(ValueError, match='GPaCoClassifier got alpha='):
            classifier(**options)


def scenes(rank: int) -> dict:
    found = {}
    for kind in (OptimWrapper, SAM):
        model = DistributedClassifier(classifier())
        built = kind(torch.optim.SGD(model.parameters(), lr=0.05))
        for number in range(2):
            model.train_step(batch(size=4, seed=10 * rank + number), built)
        found[kind.__name__] = dict(model.module.state_dict())
    return found


def test_two_ranks_share_one_queue_of_the_images_of_both(tmp_path):
    first, second = on_two_ranks(scenes, tmp_path)
    for name in ('OptimWrapper', 'SAM'):
        labels = [batch(size=4, seed=seed)['labels'].tolist() for seed in (1, 11, 0, 10)]
        assert first[name]['queue_labels'].tolist() == sum(labels, []) + [-1] * 4
        for key in ('queue', 'queue_labels', 'head.weight', 'projector.0.weight'):
            assert torch.equal(first[name][key], second[name][key]), (name, key)
