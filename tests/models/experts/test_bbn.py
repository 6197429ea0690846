"""BBN against the worked values of its formulas, and against a loop over pairs."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch.testing import assert_close

from ltcls.longtail import Clock
from ltcls.models.experts import BilateralCIFARResNet, BilateralHead, BilateralPairs
from ltcls.models.experts.bbn import conventional_share
from ltcls.optim_wrappers import CCSAM, GNM, SAM, ImbSAM
from ltcls.registry import MODELS
from ltcls.samplers import BilateralSampler

COUNTS = [60, 12, 3]


def classifier(precision=None):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='Classifier', backbone=dict(type='BilateralCIFARResNet', depth=8),
        head=dict(type='BilateralHead'), loss=dict(type='CrossEntropyLoss'), precision=precision,
        data_preprocessor=MODELS.build(dict(
            type='BatchPreprocessor', num_classes=3, mean=[0.5] * 3, std=[0.25] * 3,
            mixing=dict(type='BilateralPairs')))))
    model.bind(torch.tensor(COUNTS))
    model.set_clock(Clock(epoch=5, max_epochs=10))
    return model.train()


def batch(pairs=6):
    generator = torch.Generator().manual_seed(1)
    return dict(inputs=torch.randint(0, 256, (2 * pairs, 3, 8, 8), generator=generator,
                                     dtype=torch.uint8),
                labels=torch.randint(0, 3, (2 * pairs,), generator=generator))


@pytest.mark.parametrize('epoch, share', [(0, 1.0), (100, 0.75), (199, 0.009975)])
def test_the_conventional_branch_fades_parabolically(epoch, share):
    assert conventional_share(Clock(epoch, 200)) == pytest.approx(share, abs=1e-12)


def test_logits_and_loss_of_a_pair():
    features = torch.tensor([[1, 2, 3, 1]], dtype=torch.float64)
    head = BilateralHead(4, 2).double()
    head.weight.data = torch.tensor([[.1, .2, .3, -.1], [0, -.1, .2, .4]], dtype=torch.float64)
    head.bias.data = torch.tensor([.05, -.05], dtype=torch.float64)
    head.clock = Clock(100, 200)
    logits = head.train()(features)
    assert_close(logits, torch.tensor([[1.2, .15]], dtype=torch.float64))
    losses = [F.cross_entropy(logits, torch.tensor([label])) for label in (0, 1)]
    assert (0.75 * losses[0] + 0.25 * losses[1]).item() == pytest.approx(0.562558, abs=1e-6)
    assert_close(head.eval()(features), torch.tensor([[1.35, .75]], dtype=torch.float64))


def test_images_at_even_places_are_the_conventional_ones():
    pairs = BilateralPairs()
    pairs.clock = Clock(100, 200)
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 2, 2)
    found = pairs(dict(inputs=images, labels=torch.tensor([0, 5, 1, 6, 2, 7])))
    assert found['inputs'].shape == (3, 2, 3, 2, 2)
    assert found['inputs'][:, 0, 0, 0, 0].tolist() == [0, 2, 4]
    assert found['labels'].first.tolist() == [0, 1, 2]
    assert found['labels'].second.tolist() == [5, 6, 7]
    assert float(found['labels'].share) == 0.75
    with pytest.raises(ValueError, match='3 images, which makes no pairs'):
        pairs(dict(inputs=images[:3], labels=torch.arange(3)))


@pytest.mark.parametrize('depth', [8, 20])
def test_each_branch_sees_its_own_image_and_both_see_every_one_in_testing(depth):
    torch.manual_seed(0)
    network = BilateralCIFARResNet(depth).train()
    images = torch.randn(5, 2, 3, 8, 8)
    found = network(images)
    assert found.shape == (5, 128)
    other = images.clone()
    other[:, 1] = 0
    assert_close(network(other)[:, :64], found[:, :64])
    assert not torch.allclose(network(other)[:, 64:], found[:, 64:])
    network.eval()
    first, second = network(images[:, 0]), network(images[:, 1])
    paired = network(images)
    assert_close(paired[:, :64], first[:, :64])
    assert_close(paired[:, 64:], second[:, 64:])


def test_a_step_is_that_of_a_loop_over_the_two_streams():
    model, data = classifier(), batch()
    prepared = model.data_preprocessor(dict(data), True)
    losses = model(**prepared, mode='loss')['loss']
    gradient = torch.autograd.grad(losses.mean(), list(model.parameters()))

    network, head, share = model.backbone, model.head, 0.75
    images = (data['inputs'] / 255 - 0.5) / 0.25
    halves = []
    for images_of_branch, block, factor in (
            (images[0::2], network.conventional, 2 * share),
            (images[1::2], network.rebalancing, 2 * (1 - share))):
        maps = F.relu(network.bn1(network.conv1(images_of_branch)))
        maps = block(network.layer3(network.layer2(network.layer1(maps))))
        halves.append(factor * maps.mean(dim=(2, 3)))
    logits = torch.cat(halves, dim=1) @ head.weight.T + head.bias
    expected = sum(share * F.cross_entropy(z[None], a[None])
                   + (1 - share) * F.cross_entropy(z[None], b[None])
                   for z, a, b in zip(logits, data['labels'][0::2], data['labels'][1::2])) / 6
    assert_close(losses.mean(), expected, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(gradient, torch.autograd.grad(expected, list(model.parameters()))):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('wrapper', [
    (OptimWrapper, {}), (SAM, {}), (GNM, {}), (CCSAM, dict(radius=1e-3)),
    (ImbSAM, dict(threshold=20))], ids=lambda pair: pair[0].__name__)
@pytest.mark.parametrize('precision', [None, 'bfloat16'])
def test_pairs_are_trained_on_under_every_wrapper(wrapper, precision):
    kind, options = wrapper
    model, data = classifier(precision), batch()
    built = kind(torch.optim.SGD(model.parameters(), lr=0.05), **options)
    losses = [model.train_step(dict(data), built)['loss'].item() for _ in range(12)]
    assert losses[-1] < losses[0] and all(torch.isfinite(p).all() for p in model.parameters())


def data_set(counts=(500, 50, 5)):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))

    class Labelled(SimpleNamespace):
        def __len__(self):
            return len(labels)
    return Labelled(labels=labels, metainfo=dict(classes=[str(c) for c in range(len(counts))]))


def test_the_sampler_takes_turns_of_shuffled_and_reversed():
    dataset = data_set()
    sampler = BilateralSampler(dataset, seed=0)
    seen = torch.zeros(3)
    for epoch in range(40):
        sampler.set_epoch(epoch)
        indices = torch.tensor(list(sampler))
        assert len(indices) == len(sampler) == 2 * len(dataset)
        assert indices[0::2].sort().values.tolist() == list(range(len(dataset)))
        seen += torch.bincount(dataset.labels[indices[1::2]], minlength=3)
    assert_close(seen / seen.sum(), torch.tensor([0.009009, 0.090090, 0.900901]), rtol=0, atol=0.01)


def test_ranks_share_the_pairs_and_keep_them_together():
    dataset = data_set((7, 3, 1))
    whole = torch.tensor(list(BilateralSampler(dataset, seed=3))).view(-1, 2)
    parts = []
    for rank in (0, 1):
        sampler = BilateralSampler(dataset, seed=3)
        sampler.rank, sampler.world_size = rank, 2
        sampler.num_samples = -(-sampler.length // 2)
        sampler.total_size = 2 * sampler.num_samples
        parts.append(torch.tensor(list(sampler)).view(-1, 2))
        assert len(sampler) == 2 * len(parts[-1]) == 12
    merged = torch.stack(parts, dim=1).view(-1, 2)[:len(whole)]
    assert torch.equal(merged, whole)
