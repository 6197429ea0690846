"""The balanced subset: every class alike, always the same images, in a new order each epoch."""

import numpy as np
import pytest
import torch

from ltcls.samplers import BalancedSubsetSampler


class Labels:
    metainfo = dict(classes=['a', 'b', 'c', 'd'])

    def __init__(self, counts):
        self.labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), counts))

    def __len__(self):
        return len(self.labels)


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize('per_class, counts, expected', [
    (None, [40, 20, 10, 5], [5, 5, 5, 5]), (None, [40, 20, 0, 5], [5, 5, 0, 5]),
    (8, [40, 20, 10, 5], [8, 8, 8, 5])])
def test_every_class_gives_as_many_images_as_it_can(per_class, counts, expected):
    data = Labels(counts)
    drawn = epoch_of(BalancedSubsetSampler(data, seed=3, per_class=per_class), 0)
    assert len(set(drawn)) == len(drawn) == sum(expected)
    assert np.bincount(data.labels[drawn], minlength=4).tolist() == expected


def test_epochs_have_the_same_images_in_another_order_and_seeds_have_others():
    data = Labels([40, 20, 10, 5])
    sampler = BalancedSubsetSampler(data, seed=3)
    first, second = epoch_of(sampler, 0), epoch_of(sampler, 1)
    assert sorted(first) == sorted(second) and first != second and len(sampler) == 20
    assert sorted(first) != sorted(epoch_of(BalancedSubsetSampler(data, seed=4), 0))


def test_which_images_are_chosen_is_left_to_chance():
    data, hits = Labels([40, 20, 10, 5]), torch.zeros(75)
    for seed in range(400):
        hits[BalancedSubsetSampler(data, seed=seed).subset] += 1
    head = hits[torch.from_numpy(data.labels == 0)]        # each with probability 5 / 40
    assert abs(head.mean() - 50) < 1e-6 and head.min() > 20 and head.max() < 85


@pytest.mark.parametrize('world_size', [2, 3])
def test_ranks_share_one_balanced_subset(monkeypatch, world_size):
    data, parts = Labels([40, 20, 10, 5]), []
    alone = list(BalancedSubsetSampler(data, seed=4))
    for rank in range(world_size):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, world_size))
        parts.append(list(BalancedSubsetSampler(data, seed=4)))
    together = [index for step in zip(*parts, strict=True) for index in step]
    rounds = -(-len(alone) // world_size)
    assert together == (alone + alone)[:rounds * world_size]


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match='per_class=0'):
        BalancedSubsetSampler(Labels([4, 3, 2, 1]), per_class=0)
