import pytest
import torch
from pytest import approx
from torch.testing import assert_close

from ltcls.evaluation.calibration import reliability_bins

CONFIDENCES = [0.95, 0.9, 0.6, 0.55, 0.3]
CORRECT = [1, 1, 0, 1, 0]


def slow_error(confidences, correct, bins):
    """Image by image in Python's doubles."""
    total = 0.0
    for m in range(bins):
        inside = [i for i, c in enumerate(confidences)
                  if m / bins < c <= (m + 1) / bins or (m == 0 and c == 0)]
        if inside:
            gap = sum(confidences[i] for i in inside) - sum(correct[i] for i in inside)
            total += abs(gap) / len(confidences)
    return total


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_five_predictions_worked_out_by_hand(dtype):
    # 0.6 and 0.55 share the bin (8/15, 9/15]: 0.05/5 + 0.1/5 + 2/5 * |0.5 - 0.575| + 0.3/5
    found = reliability_bins(torch.tensor(CONFIDENCES, dtype=dtype), torch.tensor(CORRECT), bins=15)
    assert found.error == approx(0.12, abs=1e-7)


def test_it_equals_a_loop_over_images():
    generator = torch.Generator().manual_seed(0)
    confidences = torch.rand(500, generator=generator, dtype=torch.float64)
    correct = torch.rand(500, generator=generator) < 0.6
    for bins in (1, 7, 15):
        expected = slow_error(confidences.tolist(), correct.int().tolist(), bins)
        assert reliability_bins(confidences, correct, bins).error == approx(expected)


def test_with_one_bin_it_is_the_gap_of_the_means():
    error = reliability_bins(torch.tensor(CONFIDENCES), torch.tensor(CORRECT), bins=1).error
    assert error == approx(abs(3.3 / 5 - 3 / 5))


def test_a_bin_holds_its_upper_edge_and_the_first_holds_zero():
    edges = torch.arange(0, 11, dtype=torch.float64) / 10
    images = reliability_bins(edges, torch.ones(11), bins=10).images
    assert images.tolist() == [2] + [1] * 9


def test_bins_carry_means_and_empty_ones_are_zero():
    bins = reliability_bins(torch.tensor([0.9, 0.8, 0.2]).double(), torch.tensor([1, 0, 1]), bins=2)
    assert_close(bins.images, torch.tensor([1., 2.]).double())
    assert_close(bins.confidence, torch.tensor([0.2, 0.85]).double())
    assert_close(bins.accuracy, torch.tensor([1., 0.5]).double())
    empty = reliability_bins(torch.tensor([0.9]).double(), torch.tensor([1]), bins=2)
    assert (empty.images[0], empty.confidence[0], empty.accuracy[0]) == (0, 0, 0)


def test_certain_and_right_is_perfectly_calibrated():
    assert reliability_bins(torch.ones(4), torch.ones(4)).error == 0
    assert reliability_bins(torch.ones(4), torch.zeros(4)).error == 1


def test_logits_in_place_of_probabilities_are_refused():
    with pytest.raises(ValueError, match='3.5 is no probability; pass softmax scores'):
        reliability_bins(torch.tensor([0.5, 3.5]), torch.ones(2))
    with pytest.raises(ValueError, match='at least one image'):
        reliability_bins(torch.zeros(0), torch.zeros(0))
