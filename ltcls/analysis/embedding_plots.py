"""The pictures of features: maps of train and test images, distances and norms of each class."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ltcls.evaluation.scores import GROUPS

from .style import (GROUP_COLOURS, GROUP_MARKERS, INK, QUIET, by_count, class_axis, literal,
                    new_figure, save, styled)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 20      # up to here each class has a colour of its own on a map


def write_feature_plots(found: dict, folder: str | Path) -> list[Path]:
    """Write feature_map.png and feature_distances.png."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [save(plot_maps(found), folder / 'feature_map.png'),
            save(plot_distances(found), folder / 'feature_distances.png')]


@styled()
def plot_maps(found: dict) -> 'Figure':
    """A row for each map, a column each for the training and the test images.

    Up to 20 classes have a colour each, more are coloured by their group. The few-shot classes, or
    without any the two rarest, are drawn large and dark-edged, with their names.
    """
    rows = by_count(dict(per_class=found['classes']))
    tail = tail_classes(rows)
    figure = new_figure(11, 0.6 + 4.9 * len(found['maps']))
    panels = figure.subplots(len(found['maps']), 2, sharex='row', sharey='row', squeeze=False)
    for line, (name, about) in zip(panels, found['maps'].items()):
        for axes, split in zip(line, ('train', 'test')):
            _draw_map(axes, found, rows, tail, name, split)
            axes.set_title(f"{about['title']}, {split} images")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside right center', markerscale=1.6,
                  title='most images first' if len(rows) <= NAMED else 'group')
    figure.suptitle(f"{literal(found['name'])}, features of unit length", x=0.01, ha='left',
                    fontsize=11, fontweight='bold')
    return figure


@styled()
def plot_distances(found: dict) -> 'Figure':
    """Of each class: width and distance to the nearest other class, and length of its row."""
    rows = by_count(dict(per_class=found['classes']))
    figure = new_figure(min(13, max(9, 0.11 * len(rows) + 6)), 6.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1])
    for split, style in (('train', dict(markerfacecolor='white')), ('test', {})):
        for key, colour, label in (('nearest', INK, 'to the nearest other class mean'),
                                   ('within', GROUP_COLOURS['few'], 'to the own class mean')):
            values = [np.nan if row[split][key] is None else row[split][key] for row in rows]
            upper.plot(range(len(rows)), values, 'o', color=colour, markersize=5, **style,
                       label=f'{split}, {label}')
    upper.set(ylabel='distance, unit length', ylim=(0, None), xlim=(-0.7, len(rows) - 0.3))
    upper.legend(loc='upper left', bbox_to_anchor=(1, 1))
    upper.set_title(f"{literal(found['name'])}: distances of features")
    norms = [row['row_norm'] for row in rows]
    if None not in norms:
        lower.bar(range(len(rows)), norms, color=[GROUP_COLOURS[row['group']] for row in rows])
        lower.set_ylabel('length of the classifier row')
    else:
        lower.text(0.5, 0.5, 'this head has no row for each class', transform=lower.transAxes,
                   ha='center', color=QUIET)
    class_axis(lower, rows)
    return figure


def tail_classes(rows: list[dict]) -> list[int]:
    """The few-shot classes; where there are none, the two with the fewest training images."""
    few = [row['index'] for row in rows if row['group'] == 'few']
    return few or [row['index'] for row in sorted(rows, key=lambda row: row['train_count'])[:2]]


def _draw_map(axes: 'Axes', found: dict, rows: list[dict], tail: list[int], name: str,
              split: str) -> None:
    places, labels = _points(found, name, split)
    named = len(rows) <= NAMED
    colours = class_colours(rows)
    for row in (rows if named else []):
        _scatter(axes, places[labels == row['index']], colours[row['index']], row['group'],
                 row['index'] in tail, f"{literal(row['name'])} ({row['train_count']:,})")
    for group in ([] if named else GROUPS):
        members = [row['index'] for row in rows if row['group'] == group]
        if members:
            _scatter(axes, places[np.isin(labels, members)], GROUP_COLOURS[group], group,
                     members[0] in tail, group)
    if named:
        for row in rows:
            chosen = places[labels == row['index']]
            if row['index'] in tail and len(chosen):
                axes.annotate(literal(row['name']), np.median(chosen, axis=0), fontsize=9,
                              ha='center', fontweight='bold', color=INK,
                              bbox=dict(boxstyle='round,pad=0.15', fc='white', ec='none', alpha=.7))
    axes.set(xticks=[], yticks=[])
    axes.grid(False)


def _scatter(axes: 'Axes', places: np.ndarray, colour, group: str, large: bool, label: str) -> None:
    axes.plot(*places.T, GROUP_MARKERS[group], color=colour, label=label, linestyle='none',
              markersize=5.5 if large else 3, alpha=0.9 if large else 0.6,
              markeredgecolor=INK if large else 'none', markeredgewidth=0.5)


def class_colours(rows: list[dict]) -> dict[int, tuple]:
    """A colour for each class, in the order of the rows."""
    from matplotlib import colormaps
    palette = colormaps['tab10' if len(rows) <= 10 else 'tab20']
    return {row['index']: palette(i % palette.N) for i, row in enumerate(rows)}


def _points(found: dict, name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    chosen = [point for point in found['points'] if point['split'] == split]
    return (np.array([point[name] for point in chosen]).reshape(-1, 2),
            np.array([point['label'] for point in chosen], dtype=int))
