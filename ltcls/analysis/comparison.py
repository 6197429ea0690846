"""One picture of several runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np

from ltcls.analysis.style import (INK, METHOD_COLOURS, NAMED_CLASSES, by_count, class_axis,
                                  literal, new_figure, save, styled)
from ltcls.evaluation.scores import GROUPS, part_accuracy
from ltcls.evaluation.table import experiments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_comparison(records: Sequence[dict], path: str | Path) -> Path:
    """Write the picture of several runs to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(plot_comparison(records), path)


@styled()
def plot_comparison(records: Sequence[dict]) -> 'Figure':
    """Several runs: bars overall and by group, and the accuracy of each class, frequent ones first.

    Runs of the same config (other seeds) are drawn as their mean, with a bar from least to most.

    Raises:
        ValueError: no records, or records of different classes.
    """
    if not records:
        raise ValueError('A comparison needs at least one record.')
    names = [row['name'] for row in records[0]['per_class']]
    for record in records[1:]:
        if [row['name'] for row in record['per_class']] != names:
            raise ValueError(f"{record['name']} was tested on other classes than "
                             f"{records[0]['name']}: compare runs on one data set.")
    runs = experiments(records)
    figure = new_figure(12.5, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    shown = ['overall', *(g for g in GROUPS if any(g in r['groups'] for r in records))]
    rows = by_count(records[0])
    width = 0.82 / len(runs)
    for i, (name, same) in enumerate(runs.items()):
        colour = METHOD_COLOURS[i % len(METHOD_COLOURS)]
        hatch = ('', '///', '...')[i // len(METHOD_COLOURS) % 3]
        values = np.array([[part_accuracy(record, part) for record in same] for part in shown],
                          dtype=float)      # None, of a group that a run lacks, becomes NaN
        places = np.arange(len(shown)) - 0.41 + (i + 0.5) * width
        means = values.mean(axis=1)
        left.bar(places, means, width=0.92 * width, color=colour, hatch=hatch, edgecolor='white',
                 label=literal(name) if len(same) == 1 else f'{literal(name)} ({len(same)} seeds)')
        if len(same) > 1:
            # Rounded, the mean of equal numbers may lie beside them.
            reach = np.clip([means - values.min(axis=1), values.max(axis=1) - means], 0, None)
            left.errorbar(places, means, yerr=reach, fmt='none', ecolor=INK, elinewidth=1,
                          capsize=2)
        if len(runs) <= 4:
            for x, v, most in zip(places, means, values.max(axis=1)):
                if np.isfinite(v):
                    left.text(x, most + 0.8, f'{v:.1f}', ha='center', fontsize=8, color=INK)
        curve = np.array([[record['per_class'][row['index']]['accuracy'] for row in rows]
                          for record in same], dtype=float).mean(axis=0)
        _draw_curve(right, curve, colour, linestyle=('-', '--', ':')[i // len(METHOD_COLOURS) % 3])
    left.set_xticks(range(len(shown)), shown)
    left.set(ylim=(0, 101), ylabel='test accuracy in %')
    left.set_title('overall and by group', pad=16)
    left.grid(False, axis='x')
    right.set(ylim=(0, 101), ylabel='test accuracy in %', xlim=(-0.7, len(rows) - 0.3))
    span = _smoothing(len(rows))
    right.set_title('each class' if span == 1 else f'each class, mean over {span} neighbours',
                    pad=16)
    class_axis(right, rows)
    figure.legend(*left.get_legend_handles_labels(), loc='outside upper left',
                  ncols=min(len(runs), 5))
    return figure


def _draw_curve(axes: 'Axes', curve: np.ndarray, colour: str, linestyle: str) -> None:
    span = _smoothing(len(curve))
    if span > 1:
        known = np.isfinite(curve).astype(float)
        kernel = np.ones(span)
        curve = np.convolve(np.nan_to_num(curve), kernel, 'same') / np.maximum(
            np.convolve(known, kernel, 'same'), 1)
    axes.plot(range(len(curve)), curve, color=colour, linestyle=linestyle,
              marker='o' if span == 1 else None, markersize=5)


def _smoothing(num_classes: int) -> int:
    """How many neighbours a curve of classes is averaged over: odd, and 1 up to 30 classes."""
    return 1 if num_classes <= NAMED_CLASSES else 2 * (num_classes // 25) + 1
