"""Class probabilities against values worked out in float64, and draws against probabilities."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ltcls.longtail import exponential_counts
from ltcls.samplers import (CBENSampler, ClassAwareSampler, ClassBalancedSampler, ClassSampler,
                            EffectiveNumberSampler, InstanceBalancedSampler, ProgressiveSampler,
                            ReversedSampler, SquareRootSampler)

SMALL = [100, 10, 1]
GCL = [500, 200, 50, 10]
CIFAR10 = exponential_counts(5000, 10, 100)     # 5000, 2997, ... 83, 50
CHI2_999 = {2: 13.82, 3: 16.27, 9: 27.88}       # 99.9% points by degrees of freedom


class Labels:
    """A training set that is nothing but labels, in mixed order."""

    def __init__(self, class_counts):
        labels = np.repeat(np.arange(len(class_counts)), class_counts)
        self.labels = np.random.default_rng(0).permutation(labels)
        self.metainfo = dict(
            classes=[f'class {c}' for c in range(len(class_counts))],
            class_counts=[int(n) for n in class_counts])

    def __len__(self):
        return len(self.labels)


def probabilities(sampler_class, class_counts, epoch=0, **kwargs):
    sampler = sampler_class(Labels(class_counts), seed=0, **kwargs)
    sampler.set_epoch(epoch)
    return sampler.class_probabilities(torch.tensor(class_counts, dtype=torch.float64))


def close(actual, expected, digits=6):
    expected = torch.tensor(expected, dtype=torch.float64)
    assert_close(actual, expected, rtol=0, atol=0.6 * 10 ** -digits)


def test_class_balanced_gives_every_class_the_same_chance():
    close(probabilities(ClassBalancedSampler, SMALL), [1 / 3] * 3, digits=12)
    close(probabilities(ClassAwareSampler, SMALL), [1 / 3] * 3, digits=12)


def test_square_root_values():
    close(probabilities(SquareRootSampler, SMALL), [0.706101, 0.223289, 0.070610])


def test_reversed_is_inverse_frequency():
    # 1/500, 1/50, 1/5 over their sum
    close(probabilities(ReversedSampler, [500, 50, 5]), [1 / 111, 10 / 111, 100 / 111], digits=12)


@pytest.mark.parametrize('form, epoch, expected', [
    ('decoupling', 0, [0.900901, 0.090090, 0.009009]),
    ('decoupling', 2, [0.617117, 0.211712, 0.171171]),
    ('decoupling', 4, [0.333333, 0.333333, 0.333333]),
    ('t/T', 0, [0.900901, 0.090090, 0.009009]),
    ('t/T', 2, [0.673874, 0.187387, 0.138739]),
    ('t/T', 4, [0.446847, 0.284685, 0.268468]),
])
def test_progressive_moves_from_natural_to_balanced(form, epoch, expected):
    close(probabilities(ProgressiveSampler, SMALL, epoch=epoch, form=form, max_epochs=5), expected)


def test_progressive_with_one_epoch_stays_natural():
    expected = [100 / 111, 10 / 111, 1 / 111]
    close(probabilities(ProgressiveSampler, SMALL, max_epochs=1), expected, digits=12)


def test_progressive_learns_the_number_of_epochs_later_and_refuses_to_guess_it():
    sampler = ProgressiveSampler(Labels(SMALL), seed=0)
    with pytest.raises(RuntimeError, match='LongTailHook'):
        iter(sampler)
    sampler.set_max_epochs(5)
    sampler.set_epoch(4)
    close(sampler.class_probabilities(torch.tensor(SMALL, dtype=torch.float64)), [1 / 3] * 3)


def test_effective_number_values():
    close(probabilities(EffectiveNumberSampler, SMALL), [0.334383, 0.332883, 0.332733])
    close(probabilities(EffectiveNumberSampler, GCL),
          [0.253874989, 0.250116981, 0.248251907, 0.247756122], digits=9)
    close(probabilities(EffectiveNumberSampler, CIFAR10),
          [0.119289555, 0.108641641, 0.102554880, 0.099018504, 0.096932573, 0.095700729,
           0.094965675, 0.094526447, 0.094262618, 0.094107377], digits=9)


def test_cben_values():
    close(probabilities(CBENSampler, SMALL), [0.334386, 0.332878, 0.332736])
    close(probabilities(CBENSampler, GCL),
          [0.253901653, 0.250085147, 0.248242206, 0.247770994], digits=9)
    close(probabilities(CBENSampler, GCL, beta=(0.99, 0.999)),
          [0.550492153, 0.217158552, 0.122481173, 0.109868121], digits=9)
    close(probabilities(CBENSampler, CIFAR10),
          [0.119404727, 0.108574583, 0.102455293, 0.098939614, 0.096888770, 0.095691091,
           0.094984456, 0.094567042, 0.094319248, 0.094175177], digits=9)


def test_effective_numbers_go_from_natural_to_balanced_with_beta():
    natural = [n / sum(GCL) for n in GCL]
    close(probabilities(EffectiveNumberSampler, GCL, beta=0.0), natural, digits=12)
    close(probabilities(EffectiveNumberSampler, GCL, beta=1 - 1e-12), [0.25] * 4, digits=9)


def test_cben_with_equal_betas_is_effective_number():
    assert_close(probabilities(CBENSampler, GCL, beta=(0.999, 0.999)),
                 probabilities(EffectiveNumberSampler, GCL, beta=0.999))


SAMPLERS = [ClassBalancedSampler, SquareRootSampler, EffectiveNumberSampler, CBENSampler,
            ReversedSampler]


@pytest.mark.parametrize('sampler_class', SAMPLERS)
def test_a_class_without_images_is_never_drawn(sampler_class):
    counts = [0, 20, 0, 5, 0]
    dataset = Labels(counts)
    sampler = sampler_class(dataset, seed=3)
    expected = probabilities(sampler_class, counts)
    assert expected[[0, 2, 4]].tolist() == [0, 0, 0]
    assert float(expected.sum()) == pytest.approx(1)
    if sampler_class is not CBENSampler:        # whose betas count an empty class as one image
        assert_close(expected[[1, 3]], probabilities(sampler_class, [20, 5]))
    assert set(dataset.labels[list(sampler)]) == {1, 3}


@pytest.mark.parametrize('sampler_class', SAMPLERS)
def test_long_draws_have_the_stated_class_frequencies(sampler_class):
    dataset = Labels(CIFAR10)
    sampler = sampler_class(dataset, seed=1)
    drawn = np.zeros(10)
    for epoch in range(10):
        sampler.set_epoch(epoch)
        drawn += np.bincount(dataset.labels[list(sampler)], minlength=10)
    expected = 10 * len(dataset) * probabilities(sampler_class, CIFAR10).numpy()
    assert drawn.sum() == 10 * len(dataset) == 124060
    assert ((drawn - expected) ** 2 / expected).sum() < CHI2_999[9]


def test_images_inside_a_class_are_equally_likely():
    dataset = Labels([400, 10, 3])
    sampler = ClassBalancedSampler(dataset, seed=1, epoch_length='head')    # 1200 draws
    drawn = np.zeros(len(dataset))
    for epoch in range(20):
        sampler.set_epoch(epoch)
        drawn += np.bincount(list(sampler), minlength=len(dataset))
    for label, size in ((1, 10), (2, 3)):
        inside = drawn[dataset.labels == label]
        expected = inside.sum() / size
        assert ((inside - expected) ** 2 / expected).sum() < CHI2_999[size - 1]
    assert drawn[dataset.labels == 0].min() > 0     # 8000 draws of 400 images


def test_images_of_an_epoch_are_drawn_with_replacement():
    indices = list(ClassBalancedSampler(Labels(SMALL), seed=0))
    assert len(indices) == 111 > len(set(indices))


def test_instance_balanced_shows_every_image_once():
    sampler = InstanceBalancedSampler(Labels(SMALL), seed=0)
    first = list(sampler)
    assert sorted(first) == list(range(111)) != first
    sampler.set_epoch(1)
    assert sorted(sampler) == list(range(111)) and list(sampler) != first


def test_epoch_length_is_the_data_or_the_largest_class_times_the_classes():
    dataset = Labels(GCL)
    assert len(ClassBalancedSampler(dataset, seed=0)) == 760
    assert len(list(ClassBalancedSampler(dataset, seed=0, epoch_length='head'))) == 4 * 500


def test_seed_and_epoch_fix_the_list():
    dataset = Labels(GCL)
    one, other = SquareRootSampler(dataset, seed=5), SquareRootSampler(dataset, seed=5)
    zeroth = list(one)
    assert zeroth == list(one) == list(other)
    one.set_epoch(1)
    assert list(one) != zeroth
    one.set_epoch(0)
    assert list(one) == zeroth
    assert list(SquareRootSampler(dataset, seed=6)) != zeroth


def test_drawing_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(ClassAwareSampler(Labels(SMALL), seed=9))
    assert_close(torch.rand(3), expected, rtol=0, atol=0)


@pytest.mark.parametrize('world_size', [1, 2, 3])
@pytest.mark.parametrize('sampler_class, kwargs', [
    (InstanceBalancedSampler, {}),
    (ClassBalancedSampler, {}),
    (CBENSampler, {}),
    (ProgressiveSampler, dict(max_epochs=5)),
    (ReversedSampler, dict(epoch_length='head')),
    (ClassAwareSampler, {}),
])
def test_ranks_share_one_list_in_equal_parts(monkeypatch, world_size, sampler_class, kwargs):
    dataset = Labels([40, 20, 10, 5])       # 75 images: 2 ranks must repeat one; head length 160
    alone = sampler_class(dataset, seed=4, **kwargs)
    alone.set_epoch(3)
    alone = list(alone)
    parts = []
    for rank in range(world_size):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, world_size))
        sampler = sampler_class(dataset, seed=4, **kwargs)
        sampler.set_epoch(3)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1]) == -(-len(alone) // world_size)
    together = [index for step in zip(*parts) for index in step]
    assert together == (alone + alone)[:len(together)]


def test_runs_of_the_class_aware_sampler_and_its_rounds():
    dataset = Labels([40, 20, 10, 5])
    sampler = ClassAwareSampler(dataset, seed=2, images_per_turn=4, epoch_length='head')
    labels = dataset.labels[list(sampler)].reshape(-1, 4)       # 40 turns of 4 images
    assert (labels == labels[:, :1]).all()
    rounds = labels[:, 0].reshape(-1, 4)                        # 10 rounds of 4 classes
    assert (np.sort(rounds, axis=1) == np.arange(4)).all()
    assert len({tuple(order) for order in rounds}) > 1


@pytest.mark.parametrize('images_per_turn', [1, 3, 4])
def test_the_class_aware_sampler_repeats_no_image_before_its_class_is_used_up(images_per_turn):
    counts = [37, 11, 0, 5, 1]
    dataset = Labels(counts)
    sampler = ClassAwareSampler(
        dataset, seed=2, images_per_turn=images_per_turn, epoch_length='head')
    indices = np.array(list(sampler))
    assert len(indices) == 37 * 5
    for label, size in enumerate(counts):
        drawn = indices[dataset.labels[indices] == label]
        cycles = [drawn[i:i + size] for i in range(0, len(drawn), size)] if size else []
        assert len(drawn) == 0 or len(cycles) >= 1
        assert all(len(set(cycle)) == len(cycle) for cycle in cycles)
        if 1 < size < 12:
            assert len({tuple(cycle) for cycle in cycles[:-1]}) > 1     # shuffled anew each time
    sampler.set_epoch(1)
    assert list(sampler) != indices.tolist()


def test_cycles_of_the_class_aware_sampler_are_uniform_permutations():
    dataset = Labels([200, 3])
    sampler = ClassAwareSampler(dataset, seed=0, images_per_turn=3, epoch_length='head')
    rare = np.flatnonzero(dataset.labels == 1)
    drawn = np.zeros(3)                         # how often each image opens its class's cycle
    for epoch in range(30):
        sampler.set_epoch(epoch)
        indices = np.array(list(sampler))
        indices = indices[dataset.labels[indices] == 1]
        drawn += [(indices[::3] == image).sum() for image in rare]
    expected = drawn.sum() / 3
    assert ((drawn - expected) ** 2 / expected).sum() < CHI2_999[2]


def test_the_last_turn_is_cut_to_the_length_of_the_epoch():
    dataset = Labels([7, 3])
    indices = list(ClassAwareSampler(dataset, seed=0, images_per_turn=4))
    labels = dataset.labels[indices]
    assert len(indices) == 10
    assert len(set(labels[:4])) == len(set(labels[4:8])) == len(set(labels[8:])) == 1
    assert labels[0] != labels[4]


class GivenSampler(ClassSampler):
    returned = None

    def class_probabilities(self, class_counts):
        return torch.tensor(self.returned, dtype=torch.float64)


@pytest.mark.parametrize('number', [0.0, 1 - 2 ** -53])     # the ends of what torch.rand returns
def test_no_random_number_draws_a_class_of_probability_zero(monkeypatch, number):
    dataset = Labels([4, 2, 5])
    monkeypatch.setattr(ClassSampler, '_uniform',
                        lambda self, generator: torch.full((11,), number, dtype=torch.float64))
    sampler = GivenSampler(dataset, seed=0)
    sampler.returned = [0.0, 1.0, 0.0]
    assert set(dataset.labels[list(sampler)]) == {1}


@pytest.mark.parametrize('returned, message', [
    ([0.5, 0.5], 'for 3 classes'),
    ([0.5, 0.6, 0.0], 'sum to one'),
    ([1.5, -0.5, 0.0], 'at least zero'),
    ([float('nan'), 0.5, 0.0], 'sum to one'),
    ([0.5, 0.25, 0.25], r'classes \[2\] a chance'),
])
def test_wrong_probabilities_are_refused(returned, message):
    sampler = GivenSampler(Labels([4, 2, 0]), seed=0)
    sampler.returned = returned
    with pytest.raises(ValueError, match=message):
        iter(sampler)


@pytest.mark.parametrize('sampler_class, kwargs, message', [
    (ClassBalancedSampler, dict(epoch_length='long'), 'natural, head'),
    (ClassAwareSampler, dict(images_per_turn=0), 'at least 1'),
    (ProgressiveSampler, dict(form='linear'), "'decoupling' or 't/T'"),
    (ProgressiveSampler, dict(max_epochs=-1), 'negative'),
    (EffectiveNumberSampler, dict(beta=1.0), 'must lie in'),
    (CBENSampler, dict(beta=0.9999), 'two numbers'),
    (CBENSampler, dict(beta=(0.9999, 1.0)), 'two numbers'),
])
def test_settings_that_cannot_be_are_refused_with_the_remedy(sampler_class, kwargs, message):
    with pytest.raises(ValueError, match=message):
        sampler_class(Labels(SMALL), seed=0, **kwargs)


def test_a_dataset_without_labels_or_images_is_refused():
    with pytest.raises(ValueError, match='DefaultSampler'):
        ClassBalancedSampler([1, 2, 3], seed=0)
    with pytest.raises(ValueError, match='without images'):
        ClassBalancedSampler(Labels([0, 0]), seed=0)
