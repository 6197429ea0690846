import os
import sys

import numpy as np
import pytest
import torch
from matplotlib.cbook import is_math_text
from matplotlib.colors import to_hex
from matplotlib.image import imread
from pytest import approx

from ltcls.analysis.comparison import plot_comparison, write_comparison
from ltcls.analysis.plots import (plot_class_profile, plot_confusion, plot_learning_curves,
                                  plot_reliability, write_plots)
from ltcls.analysis.style import GROUP_COLOURS, literal
from ltcls.evaluation.record import build_record
from ltcls.evaluation.scores import measure
from ltcls.longtail import exponential_counts

LOG = [dict(epoch=1, loss=2.0, lr=0.1),
       dict(epoch=2, loss=1.0, lr=0.05, val=dict(accuracy=50.0, many=60.0, few=20.0)),
       dict(epoch=3, loss=0.5, lr=0.01, val=dict(accuracy=55.0, many=65.0, few=30.0))]


def record(num_classes=4, counts=(5, 50, 500, 200), seed=0, name='ce_resnet32_cifar10', images=20):
    """`images` a class, of which a random share is right; class 0 is few here, class 2 the head."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat_interleave(images)
    guesses = torch.randint(num_classes, labels.shape, generator=generator)
    right = torch.rand(labels.shape, generator=generator) < 0.5
    scores = measure(labels, torch.where(right, labels, guesses),
                     torch.rand(labels.shape, generator=generator), None,
                     classes=[f'c{i}' for i in range(num_classes)], class_counts=counts)
    return build_record(scores, name=name, seed=seed)


def test_the_files_are_pictures_with_something_on_them(tmp_path):
    written = write_plots(record(), tmp_path / 'run', LOG)
    assert sorted(path.name for path in written) == [
        'class_profile.png', 'confusion.png', 'learning_curves.png', 'reliability.png']
    for path in [*written, write_comparison([record()], tmp_path / 'all' / 'comparison.png')]:
        image = imread(path)[..., :3]
        assert min(image.shape[:2]) > 400
        assert 0.02 < (image < 0.95).any(-1).mean() < 0.98


def test_without_a_log_or_a_confusion_matrix_their_pictures_are_left_out(tmp_path):
    many = dict(record(), confusion=None)
    assert {p.name for p in write_plots(many, tmp_path)} == {'class_profile.png', 'reliability.png'}
    with pytest.raises(ValueError, match='no confusion matrix'):
        plot_confusion(many)


def test_the_profile_shows_each_class_where_its_count_puts_it():
    run = record()
    upper, lower = plot_class_profile(run).axes
    order = [2, 3, 1, 0]                       # 500, 200 | 50 | 5 training images
    assert [t.get_text() for t in lower.get_xticklabels()] == [f'c{c}' for c in order]
    bars = [(patch.get_x() + patch.get_width() / 2, patch.get_height()) for patch in lower.patches]
    assert np.allclose(sorted(bars), [(0, 500), (1, 200), (2, 50), (3, 5)])
    assert lower.get_yscale() == 'log'

    points, ends = {}, {}
    for container in upper.containers:
        line, _, (intervals,) = container.lines
        for x, y, segment in zip(*line.get_data(), intervals.get_segments()):
            points[int(x)] = y
            ends[int(x)] = (segment[0, 1], segment[1, 1])
    for x, c in enumerate(order):
        row = run['per_class'][c]
        assert points[x] == approx(row['accuracy'])
        assert ends[x] == approx((row['low'], row['high']))


def test_names_are_drawn_letter_by_letter(tmp_path):
    # Formulas, bytes that are no UTF-8 (as `os.fsdecode` has them), and what legends leave out.
    assert literal(os.fsdecode(b'caf\xe9')) == 'caf?' and literal('_other') == ' _other'
    run = record(name='a$b$c')
    for row, name in zip(run['per_class'], ('US$5_$x', os.fsdecode(b'caf\xe9'), '$_{$', '_other')):
        row['name'] = name
    write_plots(run, tmp_path, LOG)
    _, lower = plot_class_profile(run).axes
    assert not any(is_math_text(tick.get_text()) for tick in lower.get_xticklabels())


def test_groups_have_one_colour_in_every_picture():
    run = record()
    _, lower = plot_class_profile(run).axes
    drawn = [to_hex(patch.get_facecolor()).upper() for patch in lower.patches]
    assert drawn == [GROUP_COLOURS[g] for g in ('many', 'many', 'medium', 'few')]
    curves = plot_learning_curves(LOG).axes[1]
    assert [line.get_color() for line in curves.lines][1:] == [
        GROUP_COLOURS['many'], GROUP_COLOURS['few']]


def test_confusion_rows_sum_to_a_hundred_in_the_order_of_the_counts():
    run = record()
    axes = plot_confusion(run).axes[0]
    shares = axes.images[0].get_array()
    assert np.allclose(shares.sum(1), 100)
    assert shares[0, 3] == approx(100 * run['confusion'][2][0] / 20)
    assert np.allclose(np.diag(shares), [run['per_class'][c]['accuracy'] for c in (2, 3, 1, 0)])
    numbers = [text for text in axes.texts if text.get_text().isdigit()]
    assert len(numbers) == np.count_nonzero(run['confusion'])


def test_a_hundred_classes_are_numbered_and_not_written_into():
    run = record(100, exponential_counts(500, 100, 100), images=5)
    axes = plot_confusion(run).axes[0]
    assert {text.get_text() for text in axes.texts} == {'many', 'medium', 'few'}
    assert len(axes.get_xticks()) < 20
    lines = sorted({line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1})
    assert lines == [34.5, 69.5]               # 35 many, 35 medium, 30 few


def test_reliability_draws_accuracy_and_gap_of_every_bin_with_images():
    run = record()
    figure = plot_reliability(run)
    panels = figure.axes[:4]                   # overall, many, medium, few
    assert panels[0].get_title(loc='left') == (
        f"overall, ECE {run['calibration']['overall']['ece']:.1f}%")
    for axes, measured in zip(panels, [run['calibration']['overall'],
                                       *run['calibration']['groups'].values()]):
        bins = [b for b in measured['bins'] if b['images']]
        accuracy, gap = axes.containers
        assert [bar.get_height() for bar in accuracy] == approx([b['accuracy'] for b in bins])
        assert [bar.get_x() for bar in accuracy] == approx([b['low'] for b in bins])
        assert [bar.get_y() + bar.get_height() for bar in gap] == approx(
            [b['confidence'] for b in bins])
    shares = [bar.get_height() for bar in figure.axes[4].patches]
    assert sum(shares) == approx(100)


def test_learning_curves_hold_the_log():
    losses, accuracies, rates = plot_learning_curves(LOG, 'a run').axes
    assert np.allclose(losses.lines[0].get_data(), [[1, 2, 3], [2.0, 1.0, 0.5]])
    assert np.allclose(rates.lines[0].get_data(), [[1, 2, 3], [0.1, 0.05, 0.01]])
    drawn = {line.get_label(): line.get_data() for line in accuracies.lines}
    assert list(drawn) == ['overall 55.0', 'many 65.0', 'few 30.0']      # no medium in this log
    assert np.allclose(drawn['few 30.0'], [[2, 3], [20.0, 30.0]])
    with pytest.raises(ValueError, match='log without epochs'):
        plot_learning_curves([])


def test_a_log_without_validation_says_so():
    axes = plot_learning_curves(LOG[:1]).axes[1]
    assert [text.get_text() for text in axes.texts] == ['no epoch was validated']


def test_a_comparison_draws_means_over_seeds():
    runs = [record(seed=0), record(seed=1), record(seed=2, name='gcl_resnet32_cifar10')]
    figure = plot_comparison(runs)
    left, right = figure.axes
    bars = [c for c in left.containers if hasattr(c, 'patches')]
    assert [bar.get_label() for bar in bars] == ['ce (2 seeds)', 'gcl']
    overall = [run['overall']['accuracy'] for run in runs]
    assert bars[0].patches[0].get_height() == approx((overall[0] + overall[1]) / 2)
    assert bars[1].patches[3].get_height() == approx(runs[2]['groups']['few']['accuracy'])
    assert np.allclose(right.lines[1].get_ydata(),
                       [runs[2]['per_class'][c]['accuracy'] for c in (2, 3, 1, 0)])


def test_the_bar_on_a_mean_reaches_from_the_least_to_the_most():
    runs = [record(seed=0), record(seed=1)]
    [bars] = [c for c in plot_comparison(runs).axes[0].containers if hasattr(c, 'has_yerr')]
    ends = bars.lines[2][0].get_segments()[0][:, 1]
    assert ends.tolist() == approx(sorted(run['overall']['accuracy'] for run in runs))


def test_seeds_of_one_accuracy_have_a_mean_that_rounding_may_put_beside_them():
    runs = [record(seed=seed) for seed in range(3)]
    for run in runs:
        run['overall']['accuracy'] = 61.7
    assert np.mean([61.7] * 3) > 61.7
    plot_comparison(runs)


def test_the_curve_of_many_classes_is_smooth_and_does_not_fall_at_its_ends():
    run = record(100, exponential_counts(500, 100, 100), images=5)
    for row in run['per_class']:
        row['accuracy'] = 40.0
    assert plot_comparison([run]).axes[1].lines[0].get_ydata() == approx([40.0] * 100)


def test_runs_on_other_classes_are_not_drawn_together():
    with pytest.raises(ValueError, match='other classes'):
        plot_comparison([record(), record(3, (5, 6, 7))])


def test_drawing_leaves_pyplot_and_its_settings_alone():
    import matplotlib
    before = dict(matplotlib.rcParams)
    plot_reliability(record())
    assert dict(matplotlib.rcParams) == before
    assert 'matplotlib.pyplot' not in sys.modules or not sys.modules[
        'matplotlib.pyplot'].get_fignums()
