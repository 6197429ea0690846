"""Class counts, effective numbers, weights, cloud sizes and groups against published numbers."""

import pytest
import torch
from torch.testing import assert_close

from ltcls.longtail import (class_prior, effective_number_weights, effective_numbers,
                            exponential_counts, log_cloud_sizes, pareto_counts, shot_groups)

CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def equal(actual, expected, atol=6e-7):
    assert actual.dtype == torch.float64
    assert_close(actual, torch.tensor(expected, dtype=torch.float64), atol=atol, rtol=0)


# -- counts ---------------------------------------------------------------------------------


@pytest.mark.parametrize('imbalance, expected', [
    (200, [5000, 2775, 1540, 854, 474, 263, 146, 81, 45, 25]),
    (100, CIFAR10_LT),
    (50, [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100]),
    (20, [5000, 3584, 2569, 1842, 1320, 946, 678, 486, 348, 250]),
    (10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]),
    (1, [5000] * 10),
])
def test_class_counts_of_cifar10_lt(imbalance, expected):
    assert exponential_counts(5000, 10, imbalance) == expected


@pytest.mark.parametrize('num_classes, imbalance, total', [
    (10, 200, 11_203), (10, 100, 12_406), (10, 50, 13_996), (10, 20, 17_023), (10, 10, 20_431),
    (100, 200, 9_502), (100, 100, 10_847), (100, 50, 12_608), (100, 20, 15_907), (100, 10, 19_573)])
def test_totals_of_the_long_tailed_cifar_sets(num_classes, imbalance, total):
    assert sum(exponential_counts(50_000 // num_classes, num_classes, imbalance)) == total


@pytest.mark.parametrize('num_classes, imbalance, total, smallest', [
    (10, 200, 11_177, 24), (10, 100, 12_380, 49), (10, 50, 13_967, 99), (10, 20, 16_989, 249),
    (10, 10, 20_391, 499), (100, 200, 9_304, 2), (100, 100, 10_626, 4), (100, 50, 12_354, 9),
    (100, 20, 15_594, 24), (100, 10, 19_183, 49)])
def test_totals_with_ten_images_a_class_held_out(num_classes, imbalance, total, smallest):
    counts = exponential_counts(50_000 // num_classes - 10, num_classes, imbalance)
    assert (sum(counts), min(counts)) == (total, smallest)


def test_tail_of_cifar100_lt_to_the_image():
    counts = exponential_counts(500, 100, 100)
    assert counts[:10] == [500, 477, 455, 434, 415, 396, 378, 361, 344, 328]
    assert counts[-13:] == [8, 8, 7, 7, 7, 6, 6, 6, 6, 5, 5, 5, 5]
    assert (counts[35], counts[70]) == (98, 19)
    # truncation makes the factor 250 of nominal 200
    assert exponential_counts(500, 100, 200)[-1] == 2


def test_counts_need_a_factor_of_at_least_one():
    with pytest.raises(ValueError, match='imbalance=0.01'):
        exponential_counts(500, 10, 0.01)
    with pytest.raises(ValueError, match='imbalance=0.5'):
        pareto_counts(500, 10, 0.5)


def test_pareto_counts_fall_from_end_to_end_and_faster_than_exponential_ones():
    counts = pareto_counts(1280, 1000, 256)
    assert (counts[0], counts[-1]) == (1280, 5)
    assert counts == sorted(counts, reverse=True)
    assert counts[500] < exponential_counts(1280, 1000, 256)[500]
    assert pareto_counts(100, 5, 10) == [100, 50, 30, 18, 10]


# -- effective numbers ----------------------------------------------------------------------


def test_effective_numbers_run_from_one_to_the_count():
    counts = torch.tensor([100, 10, 1])
    equal(effective_numbers(counts, 0.0), [1, 1, 1])
    equal(effective_numbers(counts, 0.9), [10 * (1 - 0.9 ** 100), 10 * (1 - 0.9 ** 10), 1])
    equal(effective_numbers(counts, 1 - 1e-12), [100, 10, 1], atol=1e-7)


def test_effective_numbers_are_the_geometric_sum():
    beta, count = 0.9999, 5000
    slow = sum(beta ** k for k in range(count))
    equal(effective_numbers(torch.tensor([count]), beta), [slow], atol=1e-8)


def test_a_class_without_images_has_no_effective_number():
    for beta in (0.0, 0.5, 0.9999):
        assert effective_numbers(torch.tensor([0, 3]), beta)[0] == 0


@pytest.mark.parametrize('beta, expected', [
    (0.0, [1, 1, 1]),
    (0.9, [0.239329, 0.367442, 2.393229]),
    (0.99, [0.042237, 0.280044, 2.677719]),
    (0.999, [0.028363, 0.271256, 2.700381]),
    (0.9999, [0.027159, 0.270369, 2.702472]),
])
def test_class_weights_of_the_effective_number(beta, expected):
    equal(effective_number_weights(torch.tensor([100, 10, 1]), beta), expected)


def test_class_weights_of_cifar10_lt():
    equal(effective_number_weights(torch.tensor(CIFAR10_LT), 0.9999),
          [0.050611, 0.076900, 0.121134, 0.195037, 0.318805, 0.524590, 0.868349, 1.442627,
           2.409223, 3.992724])
    equal(effective_number_weights(torch.tensor(exponential_counts(4990, 10, 10)), 0.9999),
          [0.292261, 0.358321, 0.444144, 0.555381, 0.699489, 0.885951, 1.126505, 1.438219,
           1.840900, 2.358830])


def test_class_weights_of_four_classes_summing_to_four():
    equal(effective_number_weights(torch.tensor([500, 200, 50, 10]), 0.9998),
          [0.065985377, 0.160143603, 0.631076002, 3.142795017], atol=1e-9)


def test_class_weights_of_cifar100_lt():
    counts = exponential_counts(500, 100, 100)
    weights = effective_number_weights(torch.tensor(counts), 0.9998)
    assert sum(counts) == 10847
    equal(weights[[0, -1]], [0.045946926892, 4.374593482190], atol=1e-12)
    equal(weights.sum(), 100, atol=1e-9)


def test_class_weights_approach_the_inverse_frequency():
    weights = effective_number_weights(torch.tensor([100, 10, 1]), 1 - 1e-12)
    equal(weights / weights[2], [0.01, 0.1, 1], atol=1e-9)


def test_a_class_without_images_weighs_nothing_and_is_not_in_the_average():
    for beta in (0.0, 0.9, 0.9999):
        found = effective_number_weights(torch.tensor([100, 0, 10, 1, 0]), beta)
        expected = effective_number_weights(torch.tensor([100, 10, 1]), beta)
        assert torch.equal(found[[0, 2, 3]], expected) and not found[[1, 4]].any()


def test_class_weights_need_a_beta_below_one():
    with pytest.raises(ValueError, match='beta=1'):
        effective_number_weights(torch.tensor([3, 1]), 1.0)


# -- prior, clouds, sampling ----------------------------------------------------------------


def test_prior_of_three_classes():
    prior = class_prior(torch.tensor([100, 10, 1]))
    equal(prior, [0.900901, 0.090090, 0.009009])
    equal(prior.log(), [-0.104360, -2.406945, -4.709530])


def test_log_cloud_sizes_of_cifar10_lt():
    equal(log_cloud_sizes(torch.tensor(CIFAR10_LT)),
          [0.000000000, 0.111141631, 0.222331836, 0.333377151, 0.444705145, 0.555629520,
           0.666741010, 0.777977602, 0.889945956, 1.000000000], atol=1e-9)
    equal(log_cloud_sizes(torch.tensor([7, 7])), [0, 0])


@pytest.mark.parametrize('counts, low, width, expected', [
    ([500, 200, 50, 10], 0.9999, 0, [0.253874989, 0.250116981, 0.248251907, 0.247756122]),
    ([500, 200, 50, 10], 0.9999, 1e-5, [0.253901653, 0.250085147, 0.248242206, 0.247770994]),
    ([500, 200, 50, 10], 0.99, 0.009, [0.550492153, 0.217158552, 0.122481173, 0.109868121]),
    (CIFAR10_LT, 0.9999, 0,
     [0.119289555, 0.108641641, 0.102554880, 0.099018504, 0.096932573, 0.095700729, 0.094965675,
      0.094526447, 0.094262618, 0.094107377]),
    (CIFAR10_LT, 0.9999, 1e-5,
     [0.119404727, 0.108574583, 0.102455293, 0.098939614, 0.096888770, 0.095691091, 0.094984456,
      0.094567042, 0.094319248, 0.094175177]),
])
def test_effective_numbers_with_one_beta_a_class_give_the_sampling_probabilities(
        counts, low, width, expected):
    counts = torch.tensor(counts, dtype=torch.float64)
    betas = low + width * log_cloud_sizes(counts)
    share = counts / effective_numbers(counts, betas)
    equal(share / share.sum(), expected, atol=1e-9)


# -- groups ---------------------------------------------------------------------------------


def sizes(counts, rule='counts'):
    groups = shot_groups(counts, rule)
    assert sorted(sum(groups.values(), [])) == list(range(len(counts)))
    return tuple(len(groups[name]) for name in ('many', 'medium', 'few'))


@pytest.mark.parametrize('imbalance, by_counts, oltr, images', [
    (200, (30, 31, 39), (31, 29, 40), (8180, 1166, 156)),
    (100, (35, 35, 30), (35, 34, 31), (8922, 1639, 286)),
    (50, (41, 41, 18), (41, 40, 19), (9776, 2314, 518)),
    (20, (53, 47, 0), (54, 46, 0), (11_110, 3669, 1128)),
    (10, (69, 31, 0), (70, 30, 0), (12_317, 5224, 2032)),
])
def test_groups_of_cifar100_lt_under_each_rule(imbalance, by_counts, oltr, images):
    counts = exponential_counts(500, 100, imbalance)
    assert sizes(counts) == by_counts
    assert sizes(counts, 'oltr') == oltr
    assert sizes(counts, 'index-gnm') == (36, 35, 29)
    groups = shot_groups(counts, 'index-gnm')
    assert tuple(sum(counts[c] for c in group) for group in groups.values()) == images


@pytest.mark.parametrize('imbalance, expected', [
    (200, (7, 3, 0)), (100, (8, 2, 0)), (50, (9, 1, 0)), (20, (10, 0, 0)), (10, (10, 0, 0))])
def test_groups_of_cifar10_lt(imbalance, expected):
    counts = exponential_counts(5000, 10, imbalance)
    assert sizes(counts) == expected
    assert sizes(counts, 'index-mislas') == (3, 4, 3)


def test_groups_at_the_borders():
    counts = [101, 100, 20, 19]
    assert shot_groups(counts) == dict(many=[0], medium=[1, 2], few=[3])
    assert shot_groups(counts, 'oltr') == dict(many=[0, 1], medium=[], few=[2, 3])
    assert shot_groups(counts, (50, 20)) == dict(many=[0, 1], medium=[2], few=[3])
    counts = [100, 99, 21, 20]
    assert shot_groups(counts, 'ccsam') == shot_groups(counts, 'oltr')


def test_thirds_are_of_the_classes_by_size_and_equal_ones_stay_in_order():
    assert shot_groups([5, 9, 1], 'thirds') == dict(many=[1], medium=[0], few=[2])
    assert shot_groups([9, 9, 1, 1, 1], 'thirds') == dict(many=[0, 1], medium=[2], few=[3, 4])
    assert shot_groups([5] * 7, 'thirds') == dict(many=[0, 1], medium=[2, 3, 4], few=[5, 6])


def test_an_unknown_rule_is_named():
    with pytest.raises(ValueError, match="'quarters'"):
        shot_groups([3, 2, 1], 'quarters')
    with pytest.raises(ValueError, match='10, 100'):
        shot_groups([3, 2, 1], 'index-mislas')


def test_two_numbers_leave_every_class_one_group():
    # 100 and 101 are neighbours: without a medium group, but no class is in two.
    assert shot_groups([101, 100], (100, 101)) == dict(many=[0], medium=[], few=[1])
    for reversed_rule in ([100, 102], (5, 100), (5.5, 6.5)):
        with pytest.raises(ValueError, match='would put a class in many and in few: give two'):
            shot_groups([3, 2, 1], reversed_rule)
    for wrong in ((1, 2, 3), [100], 7, None, [100, 'a']):
        with pytest.raises(ValueError, match='is no name and not two numbers: give two numbers'):
            shot_groups([3, 2, 1], wrong)
