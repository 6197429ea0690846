"""The pictures of a run: class profile, confusion, reliability, learning curves.

Each `plot_*` function draws one record (as from `ltcls.evaluation.record.read_record`) or one log
and returns the figure; `write_plots` writes them beside evaluation.json. matplotlib is imported
when the first one is drawn.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np

from ltcls.analysis.style import (GROUP_COLOURS, GROUP_MARKERS, GROUP_TEXT, INK, NAMED_CLASSES,
                                  QUIET, by_count, class_axis, group_spans, literal, new_figure,
                                  save, styled)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INTERVAL_CLASSES = 200      # up to here each class's interval is drawn


def write_plots(record: dict, folder: str | Path, log: Sequence[dict] | None = None) -> list[Path]:
    """Write class_profile.png, confusion.png, reliability.png and, with a log, learning_curves.png.

    A record of more than 1000 classes holds no confusion matrix, and gets no picture of it.

    Returns:
        the files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = dict(class_profile=plot_class_profile(record), reliability=plot_reliability(record))
    if record['confusion'] is not None:
        figures['confusion'] = plot_confusion(record)
    if log:
        figures['learning_curves'] = plot_learning_curves(log, record.get('name', ''))
    return [save(figure, folder / f'{name}.png') for name, figure in figures.items()]


@styled()
def plot_class_profile(record: dict) -> 'Figure':
    """Accuracy with 95% interval and training images of each class, frequent ones first."""
    rows = by_count(record)
    figure = new_figure(min(12, max(7.5, 0.11 * len(rows) + 4)), 5.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    for name, first, last in group_spans(rows):
        places, members = range(first, last + 1), rows[first:last + 1]
        colour = GROUP_COLOURS[name]
        tested = [(x, row) for x, row in zip(places, members) if row['total']]
        _draw_accuracies(upper, name, tested, with_intervals=len(rows) <= INTERVAL_CLASSES,
                         dense=len(rows) > NAMED_CLASSES)
        group = record['groups'][name]
        if group['accuracy'] is not None:
            upper.hlines(group['accuracy'], first - 0.5, last + 0.5, color=colour,
                         linewidth=1.4, linestyles='dashed', alpha=0.9)
        bars = lower.bar(places, [row['train_count'] for row in members], color=colour,
                         width=0.75 if len(rows) <= NAMED_CLASSES else 1.0)
        if len(rows) <= 15:
            lower.bar_label(bars, fmt='{:,.0f}', fontsize=8, color=QUIET, padding=1)
    upper.set(ylim=(0, 101), ylabel='test accuracy in %', xlim=(-0.7, len(rows) - 0.3))
    upper.set_title(_title(record, 'accuracy of each class'))
    upper.legend(loc='upper right', bbox_to_anchor=(1, -0.02), ncols=3, borderaxespad=0.3,
                 handletextpad=0.4, title='mean of the group (dashed)', title_fontsize=9)
    lower.set(ylabel='training images')
    counts = [row['train_count'] for row in rows]
    if min(counts) != max(counts):
        lower.set_yscale('log')
        lower.set_ylim(max(0.5, min(c for c in counts if c > 0) / 2), 2 * max(counts))
        lower.yaxis.set_major_formatter('{x:,.0f}')
    class_axis(lower, rows)
    return figure


@styled()
def plot_confusion(record: dict) -> 'Figure':
    """Where the images of each class go, in percent of the class; most frequent class first.

    Up to 15 classes every cell is labelled.

    Raises:
        ValueError: the record holds no confusion matrix.
    """
    if record['confusion'] is None:
        raise ValueError(f"The record of {len(record['per_class'])} classes holds no confusion "
                         'matrix: it is kept up to 1000 classes.')
    from matplotlib.colors import PowerNorm
    rows = by_count(record)
    order = [row['index'] for row in rows]
    counts = np.asarray(record['confusion'], dtype=float)[np.ix_(order, order)]
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(min=1)
    size = min(9.5, max(6.2, 0.35 * len(rows) + 2.6))
    figure = new_figure(size + 0.9, size)
    axes = figure.subplots()
    axes.grid(False)
    # The square root of the share: a confusion of a few percent stays visible.
    image = axes.imshow(shares, cmap='Blues', norm=PowerNorm(0.5, 0, 100), aspect='equal',
                        interpolation='nearest')
    bar = figure.colorbar(image, ax=axes, shrink=0.75, pad=0.02,
                          ticks=[0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label('share of the class in %')
    bar.outline.set_visible(False)
    if len(rows) <= 15:
        for (y, x), share in np.ndenumerate(shares):
            axes.text(x, y, f'{share:.0f}' if counts[y, x] else '', ha='center', va='center',
                      fontsize=8.5, color='white' if share > 40 else INK)
    class_axis(axes, rows, label='predicted class')
    class_axis(axes, rows, label='true class', axis='y')
    for name, first, _ in group_spans(rows)[1:]:
        for line in (axes.axhline, axes.axvline):
            line(first - 0.5, color=GROUP_COLOURS[name], linewidth=1.4)
    for name, first, last in group_spans(rows):
        axes.text(len(rows) - 0.5 + 0.012 * len(rows), (first + last) / 2, name, rotation=270,
                  ha='left', va='center', color=GROUP_TEXT[name], fontsize=9, fontweight='bold')
    axes.set_title(_title(record, 'confusion'))
    return figure


@styled()
def plot_reliability(record: dict) -> 'Figure':
    """Accuracy over confidence, overall and for each group, with the images in each bin below."""
    measured = record['calibration']
    panels = dict(overall=measured['overall'], **measured['groups'])
    figure = new_figure(0.8 + 2.75 * len(panels), 4.4)
    columns = figure.subplots(2, len(panels), sharex=True, sharey='row', height_ratios=[3.2, 1],
                              squeeze=False)
    for (name, panel), (upper, lower) in zip(panels.items(), columns.T):
        _draw_reliability(upper, panel, GROUP_COLOURS.get(name, INK))
        upper.set_title(f"{name}, ECE {panel['ece']:.1f}%")
        lower.bar(*_bin_bars(panel, [100 * b['images'] / panel['images'] for b in panel['bins']]),
                  align='edge', color=GROUP_COLOURS.get(name, INK), edgecolor='white',
                  linewidth=0.6)
        lower.set(xlim=(0, 100), xlabel='confidence in %')
        lower.text(0.03, 0.95, f"{panel['images']:,} images", transform=lower.transAxes, va='top',
                   fontsize=8.5, color=QUIET)
    columns[0, 0].set(ylim=(0, 100), ylabel='test accuracy in %')
    columns[1, 0].set(ylim=(0, 1.4 * columns[1, 0].get_ylim()[1]), ylabel='images in %')
    columns[0, 0].legend(loc='upper left', fontsize=8)
    figure.suptitle(_title(record, 'reliability'), x=0.01, ha='left', fontsize=11,
                    fontweight='bold')
    return figure


@styled()
def plot_learning_curves(log: Sequence[dict], name: str = '') -> 'Figure':
    """Training loss, validation accuracy overall and by group, and learning rate over epochs.

    Args:
        log: one dict an epoch, as from `ltcls.evaluation.record.read_log`.
        name: of the run, for the title.

    Raises:
        ValueError: an empty log.
    """
    if not log:
        raise ValueError('A log without epochs has no learning curves; train at least one epoch.')
    figure = new_figure(12.5, 3.9)
    losses, accuracies, rates = figure.subplots(1, 3)
    marker = 'o' if len(log) < 4 else None
    for axes, key in ((losses, 'loss'), (rates, 'lr')):
        points = [(entry['epoch'], entry[key]) for entry in log if entry.get(key) is not None]
        axes.plot(*zip(*points) if points else ((), ()), color=INK, marker=marker)
    losses.set(title='training loss', xlabel='epoch')
    losses.set_ylim(bottom=0 if min((e.get('loss') or 0 for e in log)) >= 0 else None)
    rates.set(title='learning rate', xlabel='epoch')
    rates.set_ylim(bottom=0)
    validated = [entry for entry in log if entry.get('val')]
    colours = dict(accuracy=INK, **GROUP_COLOURS)
    for key, colour in colours.items():
        points = [(e['epoch'], e['val'][key]) for e in validated if e['val'].get(key) is not None]
        if points:
            label = 'overall' if key == 'accuracy' else key
            accuracies.plot(*zip(*points), color=colour, label=f'{label} {points[-1][1]:.1f}',
                            marker=GROUP_MARKERS.get(key, 'D') if len(points) <= 25 else None,
                            markersize=4, linestyle='-' if key == 'accuracy' else '--')
    accuracies.set(title='validation accuracy in %', xlabel='epoch', ylim=(0, 101))
    if validated:
        accuracies.legend(loc='best', title='last epoch', title_fontsize=9)
    else:
        accuracies.text(0.5, 0.5, 'no epoch was validated', transform=accuracies.transAxes,
                        ha='center', color=QUIET)
    for axes in (losses, accuracies, rates):
        axes.set_xlim(log[0]['epoch'] - 0.5, log[-1]['epoch'] + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
    if name:
        figure.suptitle(literal(name), x=0.01, ha='left', fontsize=11, fontweight='bold')
    return figure


def _draw_accuracies(axes: 'Axes', name: str, tested: list[tuple[int, dict]], with_intervals: bool,
                     dense: bool) -> None:
    if not tested:
        return
    colour, marker = GROUP_COLOURS[name], GROUP_MARKERS[name]
    places = [x for x, _ in tested]
    values = np.array([row['accuracy'] for _, row in tested])
    mean = f'{name}: {values.mean():.1f}'
    if not with_intervals:
        axes.plot(places, values, marker, color=colour, markersize=2, alpha=0.35, label=mean)
        span = max(len(places) // 20, 1)
        smooth = np.convolve(values, np.ones(span) / span, mode='valid')
        axes.plot(places[span // 2:span // 2 + len(smooth)], smooth, color=colour)
        return
    reach = np.array([[row['accuracy'] - row['low'], row['high'] - row['accuracy']]
                      for _, row in tested]).T.clip(min=0)
    axes.errorbar(places, values, yerr=reach, fmt=marker, color=colour, label=mean,
                  markersize=3.5 if dense else 6, elinewidth=0.8 if dense else 1.3,
                  capsize=0 if dense else 3)


def _draw_reliability(axes: 'Axes', panel: dict, colour: str) -> None:
    lefts, accuracies, widths = _bin_bars(panel, [b['accuracy'] for b in panel['bins']])
    confidences = np.array([b['confidence'] for b in panel['bins'] if b['images']])
    accuracies = np.array(accuracies)
    axes.bar(lefts, accuracies, widths, align='edge', color=colour, edgecolor='white',
             linewidth=0.6, alpha=0.85, label='accuracy')
    axes.bar(lefts, confidences - accuracies, widths, bottom=accuracies, align='edge',
             color='none', edgecolor=QUIET, linewidth=0.6, hatch='/////', label='gap to confidence')
    axes.plot([0, 100], [0, 100], color=INK, linewidth=1, linestyle='--')


def _bin_bars(panel: dict, heights: list[float]) -> tuple[list, list, list]:
    """Left ends, heights and widths of the bins that hold images."""
    kept = [(b['low'], height, b['high'] - b['low'])
            for b, height in zip(panel['bins'], heights) if b['images']]
    return tuple(map(list, zip(*kept)))


def _title(record: dict, what: str) -> str:
    named = f"{literal(record['name'])}, " if record.get('name') else ''
    return f"{named}{what} (overall {record['overall']['accuracy']:.1f}%)"
