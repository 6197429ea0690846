import random

import numpy as np
import pytest

from ltcls.datasets.selection import (class_positions, class_safe_split, hold_out, profile_counts,
                                      select_first, select_ldam, select_mwn)

CIFAR10 = [5000] * 10
CIFAR100 = [500] * 100
FACTORS = [200, 100, 50, 20, 10]

COUNTS_10 = {
    200: [5000, 2775, 1540, 854, 474, 263, 146, 81, 45, 25],
    100: [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
    50: [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100],
    20: [5000, 3584, 2569, 1842, 1320, 946, 678, 486, 348, 250],
    10: [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500],
}
COUNTS_10_HELD_OUT = {
    200: [4990, 2769, 1537, 853, 473, 262, 145, 80, 44, 24],
    100: [4990, 2991, 1793, 1075, 644, 386, 231, 138, 83, 49],
    50: [4990, 3230, 2091, 1354, 877, 567, 367, 238, 154, 99],
    20: [4990, 3577, 2564, 1838, 1317, 944, 677, 485, 348, 249],
    10: [4990, 3863, 2991, 2316, 1793, 1388, 1075, 832, 644, 499],
}
TOTALS_10 = {200: 11203, 100: 12406, 50: 13996, 20: 17023, 10: 20431}
TOTALS_10_HELD_OUT = {200: 11177, 100: 12380, 50: 13967, 20: 16989, 10: 20391}
TOTALS_100 = {200: 9502, 100: 10847, 50: 12608, 20: 15907, 10: 19573}
TOTALS_100_HELD_OUT = {200: 9304, 100: 10626, 50: 12354, 20: 15594, 10: 19183}
SMALLEST_100 = {200: 2, 100: 5, 50: 10, 20: 25, 10: 50}
SMALLEST_100_HELD_OUT = {200: 2, 100: 4, 50: 9, 20: 24, 10: 49}
COUNTS_100_AT_200 = [int(n) for n in '''
    500 473 449 425 403 382 362 343 325 308 292 277 263 249 236 224 212 201 190 180 171 162 154 146
    138 131 124 117 111 105 100 95 90 85 81 76 72 69 65 62 58 55 52 50 47 44 42 40 38 36 34 32 30 29
    27 26 24 23 22 21 20 19 18 17 16 15 14 13 13 12 11 11 10 10 9 9 8 8 7 7 6 6 6 5 5 5 5 4 4 4 4 3
    3 3 3 3 2 2 2 2'''.split()]
COUNTS_100_AT_100 = [int(n) for n in '''
    500 477 455 434 415 396 378 361 344 328 314 299 286 273 260 248 237 226 216 206 197 188 179 171
    163 156 149 142 135 129 123 118 112 107 102 98 93 89 85 81 77 74 70 67 64 61 58 56 53 51 48 46
    44 42 40 38 36 35 33 32 30 29 27 26 25 24 23 22 21 20 19 18 17 16 15 15 14 13 13 12 12 11 11 10
    10 9 9 8 8 7 7 7 6 6 6 6 5 5 5 5'''.split()]


def equal_groups(num_classes, size):
    """Classes that alternate in file order, so that ranks in a class are not positions."""
    return class_positions(np.tile(np.arange(num_classes), size), num_classes)


def ranks(positions, groups):
    rank = np.empty(sum(len(group) for group in groups), dtype=int)
    for group in groups:
        rank[group] = np.arange(len(group))
    return rank[positions]


@pytest.mark.parametrize('factor', FACTORS)
def test_counts_of_cifar10_lt_are_the_published_ones(factor):
    counts = profile_counts(CIFAR10, factor, 'exponential')
    assert counts == COUNTS_10[factor]
    assert sum(counts) == TOTALS_10[factor]


@pytest.mark.parametrize('factor', FACTORS)
def test_counts_of_cifar100_lt_are_the_published_ones(factor):
    counts = profile_counts(CIFAR100, factor, 'exponential')
    assert (sum(counts), counts[0], counts[-1]) == (TOTALS_100[factor], 500, SMALLEST_100[factor])


def test_every_count_of_cifar100_lt_at_the_two_strongest_factors():
    assert profile_counts(CIFAR100, 200, 'exponential') == COUNTS_100_AT_200
    assert profile_counts(CIFAR100, 100, 'exponential') == COUNTS_100_AT_100


@pytest.mark.parametrize('factor', FACTORS)
def test_counts_after_ten_images_a_class_are_held_out(factor):
    small = profile_counts([4990] * 10, factor, 'exponential')
    large = profile_counts([490] * 100, factor, 'exponential')
    assert small == COUNTS_10_HELD_OUT[factor]
    assert sum(small) == TOTALS_10_HELD_OUT[factor]
    assert (sum(large), large[-1]) == (TOTALS_100_HELD_OUT[factor], SMALLEST_100_HELD_OUT[factor])


@pytest.mark.parametrize('pool', [CIFAR10, CIFAR100])
def test_the_step_profile_keeps_half_of_the_classes(pool):
    assert sum(profile_counts(pool, 100, 'step')) == 25250
    assert sum(profile_counts(pool, 10, 'step')) == 27500
    assert profile_counts([60, 60, 60], 10, 'step') == [60, 6, 6]


def test_the_pareto_profile_runs_from_the_largest_to_the_smallest():
    counts = profile_counts(CIFAR100, 100, 'pareto')
    assert (counts[0], counts[-1]) == (500, 5)
    assert counts == sorted(counts, reverse=True)


def test_an_uneven_pool_gives_the_largest_head_that_every_class_can_follow():
    # Shares 1, 1/2, 1/4: the second class has 30 images, so the head can have 61 and not 62.
    assert profile_counts([100, 30, 100], 4, 'exponential') == [61, 30, 15]
    assert profile_counts([7, 100, 100], 4, 'exponential') == [7, 3, 1]


def test_a_factor_above_the_head_is_an_error_that_names_the_class():
    with pytest.raises(ValueError, match='class 1 without images.*must not exceed 40'):
        profile_counts([40, 40], 50, 'exponential')


@pytest.mark.parametrize('profile, pool, imbalance, largest', [
    # The second class, int(n / sqrt(factor)), is 5 at most: n = 35 at factors 35 and 36.
    ('exponential', [1000, 5, 5], 1000, 35),
    ('exponential', [49] * 10, 50, 48),      # 49 * (1 / 49) is below 1 in double precision
    ('exponential', [49] * 10, 49, 48),
    ('exponential', [40, 40], 40.5, 40),
    ('exponential', [1, 1], 1.5, 1),
    ('step', [5, 9, 9, 9], 7, 5),
    # With a head n = f the second class is 1 + v (f - 1), below 6 at v = 0.289 up to f = 18.
    ('pareto', [1000, 5, 1000], 1000, 18)])
def test_the_largest_factor_that_an_error_names_is_accepted(profile, pool, imbalance, largest):
    with pytest.raises(ValueError, match=f'the factor must not exceed {largest}[.]$'):
        profile_counts(pool, imbalance, profile)
    assert min(profile_counts(pool, largest, profile)) == 1
    with pytest.raises(ValueError, match='must not exceed'):
        profile_counts(pool, min(largest + 1, imbalance), profile)


def test_a_class_without_images_has_no_factor_at_all():
    with pytest.raises(ValueError, match='class 1 has no images to cut a tail from. Add'):
        profile_counts([5, 0, 5], 2, 'exponential')


@pytest.mark.parametrize('num_classes, size, first, second, last', [
    (10, 5000, [398, 3833, 4836, 4572, 636], [597, 332, 521, 3935, 4800],
     [2204, 3816, 2206, 2507, 1926]),
    (100, 500, [90, 254, 283, 445, 461], [277, 307, 436, 88, 261], [348, 153, 363, 361, 299]),
])
def test_the_default_rule_draws_the_images_of_the_public_code(num_classes, size, first, second,
                                                              last):
    groups = equal_groups(num_classes, size)
    drawn = select_ldam(groups, [5] * num_classes)
    drawn_ranks = ranks(drawn, groups).reshape(num_classes, 5).tolist()
    assert [drawn_ranks[0], drawn_ranks[1], drawn_ranks[-1]] == [first, second, last]
    assert (drawn.reshape(num_classes, 5) % num_classes == np.arange(num_classes)[:, None]).all()


def test_the_default_rule_is_the_global_generator_seeded_with_zero():
    state = np.random.get_state()
    groups = equal_groups(4, 30)
    counts = [30, 12, 5, 2]
    try:
        np.random.seed(0)
        expected = []
        for group, n in zip(groups, counts):
            index = group.copy()
            np.random.shuffle(index)
            expected.extend(index[:n])
    finally:
        np.random.set_state(state)
    assert select_ldam(groups, counts).tolist() == expected


@pytest.mark.parametrize('select', [select_ldam, select_mwn, select_first])
def test_a_stronger_imbalance_keeps_a_subset(select):
    groups = equal_groups(100, 500)
    sets = [set(select(groups, profile_counts(CIFAR100, factor, 'exponential')).tolist())
            for factor in FACTORS]
    for smaller, larger in zip(sets, sets[1:]):
        assert smaller < larger


def test_meta_weight_net_rule_follows_the_published_steps():
    """The steps of the public code on lists and global generators, positions of the reduced set."""
    labels = np.tile(np.arange(3), 40)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        np.random.seed(6)
        meta = []
        for c in range(3):
            ids = [i for i, label in enumerate(labels) if label == c]
            np.random.shuffle(ids)
            meta.extend(ids[:4])
        pool = np.delete(np.arange(120), meta)
        random.seed(42)
        dropped = []
        for c, n in enumerate([36, 9, 3]):
            ids = [i for i, position in enumerate(pool) if labels[position] == c]
            random.shuffle(ids)
            dropped.extend(ids[n:])
        expected = np.delete(pool, dropped)
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
    held, rest = hold_out(class_positions(labels, 3), 4)
    assert held.tolist() == sorted(meta)
    assert select_mwn(rest, [36, 9, 3]).tolist() == expected.tolist()


def test_file_order_takes_the_first_of_each_class():
    groups = class_positions(np.array([1, 0, 1, 0, 1, 0]), 2)
    assert select_first(groups, [2, 1]).tolist() == [0, 1, 3]


def test_held_out_images_are_balanced_and_leave_the_rest_in_file_order():
    groups = equal_groups(5, 20)
    held, rest = hold_out(groups, 3)
    assert np.bincount(held % 5).tolist() == [3] * 5
    assert [len(group) for group in rest] == [17] * 5
    assert all((np.diff(group) > 0).all() for group in rest)
    assert sorted([*held, *np.concatenate(rest)]) == list(range(100))


def test_holding_out_a_whole_class_is_an_error():
    with pytest.raises(ValueError, match='held_out=2 takes all 2 images of class 1'):
        hold_out([np.arange(5), np.arange(5, 7)], 2)
    with pytest.raises(ValueError, match="held_out=2 takes all 2 images of class 'tulip'; lower"):
        hold_out([np.arange(5), np.arange(5, 7)], 2, classes=['rose', 'tulip'])


@pytest.mark.parametrize('select', [select_ldam, select_mwn])
def test_another_seed_gives_other_images_in_equal_numbers(select):
    groups = equal_groups(3, 50)
    first, second = select(groups, [50, 10, 5]), select(groups, [50, 10, 5], seed=1)
    assert set(first) != set(second)
    assert np.bincount(first % 3).tolist() == np.bincount(second % 3).tolist()


def test_drawn_test_images_leave_every_class_one_for_training():
    groups = [np.arange(10), np.arange(10, 12), np.array([12])]
    train, test = class_safe_split(groups, share=0.3)
    assert [np.isin(group, test).sum() for group in groups] == [3, 1, 0]
    assert sorted([*train, *test]) == list(range(13))
    train, test = class_safe_split(groups, per_class=4)
    assert [np.isin(group, test).sum() for group in groups] == [4, 1, 0]
