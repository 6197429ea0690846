import pytest
from pytest import approx

from ltcls.evaluation.intervals import wilson_interval


def slow_wilson(correct, total, z=1.959963984540054):
    """The two shares p whose normal interval ends at the observed one, found by bisection."""
    observed = correct / total

    def excess(p):
        return (observed - p) ** 2 - z**2 * p * (1 - p) / total

    def root(inside, outside):
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
        return inside

    return root(observed, 0.0), root(observed, 1.0)


def test_known_intervals():
    # 50 of 100 and 8 of 10, as tabulated in texts on the score interval
    assert wilson_interval(50, 100) == approx((0.40383, 0.59617), abs=5e-6)
    assert wilson_interval(8, 10) == approx((0.49016, 0.94332), abs=5e-6)


def test_without_a_miss_the_lower_end_is_n_over_n_plus_z_squared():
    z2 = 3.841458820694124
    assert wilson_interval(10, 10) == (approx(10 / (10 + z2)), 1.0)
    assert wilson_interval(0, 10) == (0.0, approx(z2 / (10 + z2)))


@pytest.mark.parametrize('correct, total', [(1, 3), (3, 7), (37, 50), (99, 100), (1, 1000)])
def test_it_holds_the_shares_whose_score_test_accepts_the_observation(correct, total):
    assert wilson_interval(correct, total) == approx(slow_wilson(correct, total), abs=1e-9)


def test_it_is_symmetric_in_right_and_wrong_and_narrows_with_images():
    low, high = wilson_interval(3, 20)
    assert wilson_interval(17, 20) == approx((1 - high, 1 - low))
    wide, narrow = wilson_interval(7, 10), wilson_interval(700, 1000)
    assert wide[0] < narrow[0] < 0.7 < narrow[1] < wide[1]


def test_a_higher_level_uses_a_larger_quantile():
    z2 = 2.5758293035489004 ** 2
    assert wilson_interval(5, 5, level=0.99)[0] == approx(5 / (5 + z2))


@pytest.mark.parametrize('correct, total', [(0, 0), (3, 2), (-1, 2)])
def test_impossible_numbers_are_named(correct, total):
    with pytest.raises(ValueError, match=f'{correct} correct of {total} images'):
        wilson_interval(correct, total)
