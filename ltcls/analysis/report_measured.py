"""The sections of a report from what `ltcls analyze` has measured: features and flatness."""

import math
from typing import Sequence

import numpy as np

from ltcls.evaluation.scores import GROUPS

from . import embedding, flatness
from .charts import Chart, ends
from .embedding_plots import NAMED, tail_classes
from .report_html import (figure, legend, number, panels, part_colour, run_cell, run_colour,
                          section, significant, table, words)
from .runs import Run
from .style import by_count

CLASS_COLOURS = ('#4477aa', '#ee6677', '#228833', '#b8a100', '#3fa9c9', '#aa3377', '#8a8a8a',
                 '#e07b39', '#6a5acd', '#009e8e', '#9c6b30', '#c04fc0', '#7fae2a', '#d05050',
                 '#5b8ff9', '#b07aa1', '#59a14f', '#c49c00', '#75b7b2', '#8c564b')
HIGHEST = 8.0       # curves are cut at this loss above the lowest


def features(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Maps of the test features, and distances by group, of the runs that have them."""
    found = [(i, name, embedding.read_features(run.folder / embedding.FILE_NAME))
             for i, (name, run) in enumerate(zip(names, runs))
             if (run.folder / embedding.FILE_NAME).is_file()]
    if not found:
        return ''
    first = found[0][2]
    kind = 'tsne' if 'tsne' in first['maps'] else 'pca'
    rows = by_count(dict(per_class=first['classes']))
    pictures = []
    for _, name, one in found:
        shown = kind if kind in one['maps'] else 'pca'
        for split in (('test',) if len(found) > 1 else ('train', 'test')):
            title = f"{one['maps'][shown]['title']}, {split} images"
            pictures.append(figure(f'{name}: {title}' if len(found) > 1 else title,
                                   _map(one, shown, split)))
    if len(rows) <= NAMED:
        marks = legend([row['name'] for row in rows], CLASS_COLOURS)
    else:
        marks = legend(GROUPS, [part_colour(name) for name in GROUPS])
    tail = [row['name'] for row in rows if row['index'] in tail_classes(rows)]
    caption = ('<p class="quiet">Features of unit length. Ringed and named: '
               f"{', '.join(tail) if len(tail) <= 6 else 'the few-shot classes'}.</p>")
    lines = []
    for i, name, one in found:
        for part, numbers in one['groups'].items():
            test = numbers['test']
            ratio = (test['nearest'] / test['within'] if test['nearest'] and test['within']
                     else None)
            lines.append([run_cell(name, i), words(part), *(number(v, 3) for v in (
                test['within'], test['nearest'], ratio, numbers['shift'], numbers['row_norm']))])
    return section('features', 'Features', caption, marks, panels(pictures), table(
        ['run', 'classes', 'to own mean', 'to nearest mean', 'ratio', 'train to test mean',
         'classifier row'], lines, 'distances of features', left=2))


def _map(found: dict, kind: str, split: str) -> str:
    rows = by_count(dict(per_class=found['classes']))
    tail = set(tail_classes(rows))
    colours = {row['index']: CLASS_COLOURS[i] if len(rows) <= NAMED else f"var(--{row['group']})"
               for i, row in enumerate(rows)}
    names = {row['index']: row['name'] for row in rows}
    everything = np.array([point[kind] for point in found['points']])
    points = [point for point in found['points'] if point['split'] == split]
    chart = Chart(360, 330, ends(everything[:, 0], margin=0.03),
                  ends(everything[:, 1], margin=0.03), f'map of {split} features', margins=(4, 4, 4, 4))
    for point in sorted(points, key=lambda point: point['label'] in tail):
        rare = point['label'] in tail
        tip = names[point['label']]
        if point['prediction'] != point['label']:
            tip += f", taken for {names[point['prediction']]}"
        chart.dot(*point[kind], colours[point['label']], tip, radius=3.4 if rare else 2.2,
                  ring=rare, opacity=1 if rare else 0.75)
    for label in tail if len(rows) <= NAMED else ():
        places = [point[kind] for point in points if point['label'] == label]
        if places:
            chart.text(*np.median(places, axis=0), names[label], css='tag')
    return chart.svg()


def flat(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Numbers and curves of flatness, of the runs that have them."""
    found = [(i, name, flatness.read_flatness(run.folder / flatness.FILE_NAME))
             for i, (name, run) in enumerate(zip(names, runs))
             if (run.folder / flatness.FILE_NAME).is_file()]
    if not found:
        return ''
    several = len(found) > 1
    pictures = []
    with_noise = [item for item in found if 'random' in item[2]]
    first = with_noise[0][2]['random'] if with_noise else {}
    for row in first.get('noises', ()):
        same = [(i, n, flatness.noise_of(one, row, first)) for i, n, one in with_noise]
        pictures.append(figure(f"random noise, {row['noise']} {row['scale']:g}",
                               _fluctuation([item for item in same if item[2]], several),
                               'rise of the test loss at each draw'
                               if first['split'] == 'test' else
                               'rise of the training loss at each draw'))
    for probe, key, title in (('sam', 'sharpness', "rise in SAM's direction"),
                              ('hessian', 'top', 'largest eigenvalue of the Hessian'),
                              ('hessian', 'trace', 'trace of the Hessian')):
        having = [item for item in found if probe in item[2]]
        if having:
            pictures.append(figure(title, _bars(having, probe, key, several, title)))
    lines = [item for item in found if 'line' in item[2]]
    for part in (['overall', list(lines[0][2]['line']['parts'])[-1]] if several and lines else
                 ['all'] if lines else []):
        pictures.append(figure('loss along a random direction' + (f', {part}' if several else ''),
                               _line(lines, part)))
    planes = [item for item in found if 'plane' in item[2]]
    for _, name, one in planes:
        pictures.append(figure(f'{name}: loss over two directions' if several
                               else 'loss over two random directions', _plane(one),
                               'the middle is the trained model; stronger is higher'))
    columns = list(flatness.flatness_columns(found[0][2]))
    rows = [[run_cell(name, i), words(part), *(significant(pick(one, part)) for _, pick in columns)]
            for i, name, one in found for part in flatness.part_names(one)]
    return section(
        'flatness', 'Flatness', '<p class="quiet">How the loss changes around the trained weights. '
        'Losses of methods whose logits have other scales are not comparable as they stand: look '
        'at the rise beside the loss.</p>',
        legend([name for _, name, _ in found], [run_colour(i) for i, _, _ in found]) if several
        else legend([p for p in flatness.part_names(found[0][2])],
                    [part_colour(p) for p in flatness.part_names(found[0][2])]),
        panels(pictures), table(['run', 'classes', *(title for title, _ in columns)], rows,
                                'flatness', left=2))


def _fluctuation(found: Sequence[tuple], several: bool) -> str:
    parts = list(found[0][2]['parts'])
    rows = {(j, part): one['parts'][part] for j, (_, _, one) in enumerate(found) for part in parts
            if part in one['parts']}
    rises = {key: [_real(loss) - row['loss'] for loss in row['losses']]
             for key, row in rows.items()}
    chart = Chart(345, 230, (-0.5, len(parts) - 0.5),
                  ends([v for values in rises.values() for v in values], zero=True),
                  'rise of the loss under random noise', margins=(48, 10, 8, 24))
    chart.y_axis('rise of the loss')
    chart.x_names(parts)
    for j, (i, name, _) in enumerate(found):
        for place, part in enumerate(parts):
            values = rises.get((j, part), [])
            x = place + (j - (len(found) - 1) / 2) * 0.8 / len(found)
            colour = run_colour(i) if several else part_colour(part)
            for value in values:
                chart.dot(x, value, colour, f'{name}, {part}: {value:+.4g}', opacity=0.7)
            if values:
                mean = sum(values) / len(values)
                chart.level(mean, x - 0.34 / len(found), x + 0.34 / len(found), colour,
                            f'{name}, {part}: mean {mean:+.4g}', width=2.4)
    return chart.svg()


def _bars(found: Sequence[tuple], probe: str, key: str, several: bool, title: str) -> str:
    parts = list(found[0][2][probe]['parts'])
    rows = {(j, part): _real(one[probe]['parts'][part][key])
            for j, (_, _, one) in enumerate(found) for part in parts if part in one[probe]['parts']}
    chart = Chart(345, 230, (-0.5, len(parts) - 0.5), ends(list(rows.values()), zero=True), title,
                  margins=(48, 14, 8, 24))
    chart.y_axis()
    chart.x_names(parts)
    width = 0.8 / len(found)
    for (j, part), value in rows.items():
        i, name, _ = found[j]
        left = parts.index(part) - 0.4 + j * width
        chart.box(left, left + 0.92 * width, min(0.0, value), max(0.0, value),
                  run_colour(i) if several else part_colour(part), f'{name}, {part}: {value:.4g}')
        if len(rows) <= 9:
            chart.text(left + 0.46 * width, max(0.0, value), f'{value:.3g}', css='tick',
                       shift=(0, -4))
    return chart.svg()


def _line(found: Sequence[tuple], part: str) -> str:
    lines = []
    for i, name, one in found:
        for key, row in one['line']['parts'].items():
            if part in ('all', key):
                points = [(x, _real(y)) for x, y in zip(one['line']['steps'], row['losses'])]
                lines.append((part_colour(key) if part == 'all' else run_colour(i),
                              key if part == 'all' else name, points))
    values = [y for _, _, points in lines for _, y in points]
    lowest = min(values)
    chart = Chart(345, 230, (lines[0][2][0][0], lines[0][2][-1][0]),
                  ends([min(v, lowest + HIGHEST) for v in values], zero=True),
                  'loss along a direction', margins=(44, 10, 10, 34))
    chart.y_axis('loss')
    chart.x_axis('filter lengths')
    for colour, name, points in lines:
        chart.line(points, colour, name)
    return chart.svg()


def _plane(one: dict) -> str:
    steps = one['plane']['steps']
    losses = [_real(v) for v in one['plane']['parts']['overall']['losses']]
    lowest, highest = min(losses), min(max(losses), min(losses) + HIGHEST)
    half = (steps[1] - steps[0]) / 2
    span = (steps[0] - half, steps[-1] + half)
    chart = Chart(330, 318, span, span, 'loss over two directions', margins=(40, 4, 4, 34))
    chart.y_axis('second direction', about=4)
    chart.x_axis('first direction', about=4)
    for k, loss in enumerate(losses):
        x, y = steps[k // len(steps)], steps[k % len(steps)]
        share = math.sqrt(min(max((loss - lowest) / max(highest - lowest, 1e-12), 0), 1))
        chart.box(x - half, x + half, y - half, y + half, 'var(--heat)', f'loss {loss:.4g}',
                  opacity=0.02 + 0.98 * share)
    chart.dot(0, 0, 'var(--few)', f'trained weights, loss {losses[len(losses) // 2]:.4g}')
    return chart.svg()


def _real(value: float | str) -> float:
    """A loss that is not finite is kept in a file as text; here it is above everything."""
    return 1e6 if isinstance(value, str) else value
