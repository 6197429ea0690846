"""Networks of several experts, their head, and the losses on them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch.testing import assert_close

from ltcls.hooks.meta_gradient import MetaGradient
from ltcls.models.experts import (IndependentExperts, RIDECIFARResNet, RIDEResNet,
                                  SHIKECIFARResNet)
from ltcls.models.heads import ExpertHead
from ltcls.models.mixing import MixedLabels
from ltcls.optim_wrappers import CCSAM, GNM, SAM, ImbSAM
from ltcls.registry import LOSSES, MODELS

COUNTS = [60, 12, 3]
BACKBONES = dict(
    ride=dict(type='RIDECIFARResNet', depth=8),
    ncl=dict(type='IndependentExperts', network='CIFARResNet', depth=8),
    shike=dict(type='SHIKECIFARResNet', depth=8))
EXPERT_LOSSES = dict(ride='RIDELoss', ncl='NCLLoss', shike='SHIKELoss')


def build(backbone, head, loss='CrossEntropyLoss', **options):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='Classifier', backbone=backbone, head=head, loss=dict(type=loss), **options,
        data_preprocessor=dict(type='BatchPreprocessor', num_classes=3, mean=[0.5] * 3,
                               std=[0.25] * 3)))
    model.bind(torch.tensor(COUNTS))
    return model.train()


def classifier(method='ride', loss='CrossEntropyLoss', expert='LinearHead', experts=3, **options):
    head = dict(type='ExpertHead', expert=dict(type=expert), experts=experts)
    return build(BACKBONES[method], head, loss, **options)


def batch(size=8):
    generator = torch.Generator().manual_seed(1)
    return dict(inputs=torch.randint(0, 256, (size, 3, 8, 8), generator=generator,
                                     dtype=torch.uint8),
                labels=torch.randint(0, 3, (size,), generator=generator))


def test_ride_is_a_shared_group_and_narrow_networks():
    torch.manual_seed(0)
    network = RIDECIFARResNet(depth=8, experts=2).eval()
    x = torch.randn(4, 3, 16, 16)
    found = network(x)
    assert found.shape == (4, 96) and network.num_features == 96 and network.experts == 2
    shared = network.layer1(F.relu(network.bn1(network.conv1(x))))
    for index in range(2):
        maps = network.branches[index](shared)
        assert maps.shape == (4, 48, 4, 4)
        assert_close(found[:, 48 * index:48 * (index + 1)], maps.flatten(2).mean(2))
    assert not torch.equal(found[:, :48], found[:, 48:])


def test_ride_of_torchvision_takes_over_the_first_groups():
    network = RIDEResNet('resnet18', experts=2, planes=(8, 16)).eval()
    x = torch.randn(2, 3, 32, 32)
    assert network.num_features == 32 and network(x).shape == (2, 32)
    names = {name.split('.')[1] for name, _ in network.named_parameters()
             if name.startswith('model.')}
    assert names == {'conv1', 'bn1', 'layer1', 'layer2'}
    with pytest.raises(ValueError, match="name='mobilenet_v3_small', which has not the groups"):
        RIDEResNet('mobilenet_v3_small')


def test_the_last_groups_of_ride_start_as_those_of_torchvision():
    torch.manual_seed(0)
    weight = RIDEResNet('resnet18', experts=1).branches[0][1][-1].conv2.weight
    fan_out = weight.size(0) * 9
    assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)


def test_independent_experts_share_nothing():
    torch.manual_seed(0)
    network = IndependentExperts('CIFARResNet', experts=3, depth=8).eval()
    x = torch.randn(2, 3, 16, 16)
    assert_close(network(x), torch.cat([part(x) for part in network.networks], dim=1))
    first, second, _ = network.networks
    assert not torch.equal(first.conv1.weight, second.conv1.weight)


def test_shike_multiplies_its_last_group_with_maps_of_the_first_or_second():
    torch.manual_seed(0)
    network = SHIKECIFARResNet(depth=8).eval()
    x = torch.randn(2, 3, 16, 16)
    first = network.layer1(F.relu(network.bn1(network.conv1(x))))
    second = network.layer2(first)
    features = network(x)
    for index, shallow in enumerate((first, second, first)):
        maps = network.alignments[index].steps[0](shallow).relu()
        if index != 1:
            maps = network.alignments[index].steps[1](maps)
        fused = network.branches[index](second) * maps
        assert_close(features[:, 64 * index:64 * (index + 1)], fused.flatten(2).mean(2))
    assert [len(align.steps) for align in network.alignments] == [2, 1, 2]


def test_scores_are_those_of_the_experts_mean_logits():
    model = classifier().eval()
    prepared = model.data_preprocessor(batch(), False)
    logits = model(prepared['inputs'])
    assert logits.shape == (8, 3, 3)
    features = model.extract(prepared['inputs'])
    for index, head in enumerate(model.head.heads):
        own = features[:, 48 * index:48 * (index + 1)]
        assert_close(logits[:, index], own @ head.weight.T + head.bias)
    scores = model(**prepared, mode='predict')[0]['scores']
    assert_close(scores, logits.mean(1).softmax(1))


@pytest.mark.parametrize('loss', ['CrossEntropyLoss', 'LDAMLoss', 'BalancedSoftmaxLoss', 'LADELoss'])
@pytest.mark.parametrize('mixed', [False, True])
def test_an_ordinary_loss_is_the_sum_over_experts(loss, mixed):
    model = classifier(loss=loss)
    model.set_class_weights(torch.tensor([0.5, 1.0, 2.0]))
    features, labels = torch.randn(6, 144), torch.tensor([0, 0, 1, 2, 1, 0])
    if mixed:
        labels = MixedLabels(labels, labels.flip(0), torch.tensor(0.3))
    found = model.losses(features, labels)
    alone = LOSSES.build(dict(type=loss))
    alone.bind(torch.tensor(COUNTS).double())

    def expected(logits, y):
        factor = torch.tensor([0.5, 1.0, 2.0])[y]
        return alone(logits, y) * factor / factor.mean()

    total = 0
    for logits in model.logits(features).unbind(1):
        total = total + (0.3 * expected(logits, labels.first)
                         + 0.7 * expected(logits, labels.second) if mixed
                         else expected(logits, labels))
    assert_close(found, total)


def test_one_draw_of_noise_serves_both_labels_of_each_expert():
    model = classifier(loss='GCLLoss', expert='CosineHead')
    model.loss.share_noise = True
    labels = torch.tensor([2, 1])
    features = torch.randn(2, 144)
    torch.manual_seed(3)
    same = model.losses(features, MixedLabels(labels, labels, torch.tensor(0.5)))
    torch.manual_seed(3)
    assert_close(same, model.losses(features, labels))


@pytest.mark.parametrize('wrapper', [
    (OptimWrapper, {}), (SAM, {}), (GNM, {}), (CCSAM, dict(radius=1e-3)),
    (ImbSAM, dict(threshold=20))], ids=lambda pair: pair[0].__name__)
@pytest.mark.parametrize('method', list(EXPERT_LOSSES))
def test_experts_train_under_every_wrapper(wrapper, method):
    kind, options = wrapper
    model = classifier(method, EXPERT_LOSSES[method],
                       precision='bfloat16' if kind is OptimWrapper else None)
    built = kind(torch.optim.SGD(model.parameters(), lr=0.01), **options)
    data = batch()
    losses = [model.train_step(dict(data), built)['loss'].item() for _ in range(6)]
    assert losses[-1] < losses[0] and all(torch.isfinite(p).all() for p in model.parameters())


def test_a_class_loop_perturbs_the_heads_of_all_experts():
    model = classifier('ride', 'NCLLoss')
    data, built = batch(), CCSAM(torch.optim.SGD(model.parameters(), lr=0.1), radius=0.05)
    plain = copy.deepcopy(model)
    prepared = plain.data_preprocessor(dict(data), True)
    at_weights = torch.autograd.grad(plain(**prepared, mode='loss')['loss'].mean(),
                                     list(plain.head.parameters()))
    before = [p.detach().clone() for p in model.head.parameters()]
    model.train_step(dict(data), built)
    for old, new, grad in zip(before, model.head.parameters(), at_weights):
        assert not torch.allclose((old - new) / 0.1, grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('method', list(EXPERT_LOSSES))
@pytest.mark.parametrize('dev_loss', ['same', 'ce'])
def test_sample_weights_learned_on_experts_are_those_of_double_backward(method, dev_loss):
    model = classifier(method, EXPERT_LOSSES[method])
    first, second = (model.data_preprocessor(batch(size), True) for size in (6, 4))
    found = MetaGradient(model, first, second, torch.optim.SGD(model.parameters(), lr=0.01),
                         dev_loss=dev_loss).gradient(torch.ones(6))

    params = dict(model.named_parameters())
    weights = torch.ones(6, requires_grad=True)
    buffers = {name: value.clone() for name, value in model.named_buffers()}

    def call(parameters, options):
        return torch.func.functional_call(model, {**parameters, **buffers}, (), options)
    losses = call(params, dict(first, mode='loss'))['loss']
    grads = torch.autograd.grad((weights * losses).sum(), list(params.values()), create_graph=True)
    moved = {name: p - 0.01 * grad for (name, p), grad in zip(params.items(), grads)}
    if dev_loss == 'same':
        loss = call(moved, dict(second, mode='loss'))['loss'].mean()
    else:
        logits = call(moved, dict(inputs=second['inputs'])).mean(dim=1)
        loss = F.cross_entropy(logits, second['labels'])
    slow, = torch.autograd.grad(loss, weights)
    assert_close(found, slow, rtol=2e-3, atol=1e-4 * float(slow.abs().max()))


@pytest.mark.parametrize('changes, message', [
    (dict(experts=2), 'model.head.experts=2, and RIDECIFARResNet has 3: take'),
    (dict(experts=5), 'ExpertHead cannot share 144 features among 5 experts')])
def test_the_number_of_experts_is_one(changes, message):
    with pytest.raises(ValueError, match=message):
        classifier(**changes)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match='experts=2, and CIFARResNet has none: take a backbone'):
        build(dict(type='CIFARResNet', depth=8),
              dict(type='ExpertHead', expert=dict(type='LinearHead'), experts=2))
    model = build(BACKBONES['ride'], dict(type='LinearHead'), 'RIDELoss')
    with pytest.raises(ValueError, match='RIDELoss compares experts, and LinearHead has none'):
        model.losses(torch.zeros(2, 144), torch.tensor([0, 1]))


def test_one_classifier_may_see_the_features_of_all_experts():
    model = build(BACKBONES['ride'], dict(type='LinearHead'))
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 3)


def test_classifiers_are_drawn_anew_one_by_one():
    torch.manual_seed(0)
    head = ExpertHead(12, 3, dict(type='CosineHead', scale=16), experts=2)
    before = [part.weight.clone() for part in head.heads]
    assert head.scale == 16 and not torch.equal(*before)
    head.reset_parameters()
    assert not any(torch.equal(old, part.weight) for old, part in zip(before, head.heads))
