"""The sections of a report about errors: confusion and calibration."""

import math
from html import escape
from typing import Sequence

from ltcls.evaluation.scores import GROUPS

from .charts import Chart
from .report_html import (CELLS, Cell, figure, number, panels, part_colour, run_cell,
                          run_colour, section, table, words)
from .runs import Run
from .style import by_count, group_spans

DRAWN_CLASSES = 200     # up to here a confusion matrix is drawn


def mistakes(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Where the images of each class go."""
    drawn = [(name, run.record) for name, run in zip(names, runs)
             if run.record['confusion'] is not None]
    if not drawn:
        return ''
    pictures = [figure(name, _confusion(record)) for name, record in drawn
                if len(record['per_class']) <= DRAWN_CLASSES]
    return section(
        'confusion', 'Confusion',
        '<p class="quiet">Rows are true classes, columns answers, the most frequent class first; '
        'colour is the share of the row in percent.</p>', panels(pictures),
        _mistakes_table(drawn))


def _mistakes_table(drawn: Sequence[tuple[str, dict]]) -> str:
    if len({str([row['name'] for row in record['per_class']]) for _, record in drawn}) > 1:
        return ''
    return ('<h3>Most frequent mistakes, in percent of the images of the class</h3>' + table(
        ['images of', 'taken for', *(name for name, _ in drawn)],
        _worst([record for _, record in drawn]), 'most frequent mistakes', left=2))


def _worst(records: Sequence[dict]) -> list[list[Cell]]:
    """The five most frequent mistakes of each run, in all of them; the most frequent one first."""
    shares = []
    for record in records:
        totals = [max(row['total'], 1) for row in record['per_class']]
        shares.append({(truth, guess): 100 * n / totals[truth]
                       for truth, counts in enumerate(record['confusion'])
                       for guess, n in enumerate(counts) if guess != truth and n})
    chosen = {pair for found in shares
              for pair in sorted(found, key=found.get, reverse=True)[:5]}
    order = sorted(chosen, key=lambda pair: -max(found.get(pair, 0) for found in shares))
    names = [row['name'] for row in records[0]['per_class']]
    return [[words(names[truth]), words(names[guess]),
             *(number(found.get((truth, guess), 0.0)) for found in shares)]
            for truth, guess in order]


def _confusion(record: dict) -> str:
    rows = by_count(record)
    order = [row['index'] for row in rows]
    size = len(rows)
    named = size <= CELLS
    left = 76 if named else 14
    chart = Chart(290 + left, 290 + (58 if named else 14), (0, size), (0, size), 'confusion matrix',
                  margins=(left, 4, 4, 54 if named else 10))
    for y, row in enumerate(order):
        counts = record['confusion'][row]
        total = sum(counts)
        if named:
            chart.text(0, size - y - 0.5, rows[y]['name'][:12], anchor='end', shift=(-5, 4))
        for x, column in enumerate(order):
            share = counts[column] / total if total else 0
            if not counts[column]:
                continue
            # The square root of the share: a confusion of a few percent stays visible.
            chart.box(x, x + 1, size - y - 1, size - y, 'var(--heat)',
                      f"{rows[y]['name']} taken for {rows[x]['name']}: {counts[column]} of {total} "
                      f'({100 * share:.1f}%)', opacity=math.sqrt(share))
            if named:
                css = 'cell on' if share > 0.3 else 'cell'
                chart.text(x + 0.5, size - y - 0.5, f'{100 * share:.0f}', css=css, shift=(0, 3.5))
    if named:
        for x, row in enumerate(rows):
            px, py = chart.x.at(x + 0.5), chart.y.start + 12
            chart.below.append(f'<text class="name" x="{px}" y="{py}" text-anchor="end" '
                               f'transform="rotate(-40 {px} {py - 4})">{escape(row["name"][:12])}'
                               '</text>')
    for name, first, _ in group_spans(rows)[1:]:
        chart.level(size - first, 0, size, f'var(--{name})', width=1.2)
        chart.line([(first, 0), (first, size)], f'var(--{name})', width=1.2)
    return chart.svg()


def calibration(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Accuracy over confidence, and the calibration error of each group."""
    pictures = []
    for i, (name, run) in enumerate(zip(names, runs)):
        measured = run.record['calibration']
        shown = [('overall', measured['overall'])] if len(runs) > 1 else [
            ('overall', measured['overall']), *measured['groups'].items()]
        for part, panel in shown:
            colour = run_colour(i) if len(runs) > 1 else part_colour(part)
            title = name if len(runs) > 1 else part
            pictures.append(figure(f"{title}: ECE {panel['ece']:.1f}%",
                                   _reliability(panel, colour)))
    groups = [g for g in GROUPS if any(g in r.record['calibration']['groups'] for r in runs)]
    rows = [[run_cell(name, i), number(run.record['calibration']['overall']['ece'], 2),
             *(number(run.record['calibration']['groups'].get(g, {}).get('ece'), 2)
               for g in groups)] for i, (name, run) in enumerate(zip(names, runs))]
    return section('calibration', 'Calibration', '<p class="quiet">Bars: accuracy of the test '
                   'images in each bin of confidence; on the diagonal, confidence is right. Fainter bars '
                   'hold fewer images.</p>', panels(pictures),
                   table(['run', 'ECE, overall', *groups], rows, 'calibration errors',
                         best={i: 'min' for i in range(1, 2 + len(groups))})
                   if len(runs) > 1 else '')


def _reliability(panel: dict, colour: str) -> str:
    chart = Chart(330, 250, (0, 100), (0, 100), 'accuracy over confidence')
    chart.y_axis('accuracy in %')
    chart.x_axis('confidence in %')
    most = max(b['images'] for b in panel['bins']) or 1
    for b in panel['bins']:
        if b['images']:
            tip = (f"confidence {b['confidence']:.1f}%, accuracy {b['accuracy']:.1f}%, "
                   f"{b['images']:,} images")
            chart.box(b['low'] + 0.4, b['high'] - 0.4, 0, b['accuracy'], colour, tip,
                      opacity=0.35 + 0.65 * math.sqrt(b['images'] / most))
    chart.line([(0, 0), (100, 100)], 'var(--quiet)', dashed=True, width=1.2)
    return chart.svg()
