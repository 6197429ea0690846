"""The sections of a report about accuracy: results, data, each class."""

from html import escape
from statistics import mean
from typing import Sequence

from ltcls.evaluation.scores import GROUPS, part_accuracy
from ltcls.evaluation.table import comparison_notes, experiments, spread

from .charts import Chart, ends
from .report_html import (CELLS, MISSING, Cell, figure, group_legend, legend, number, panels,
                          run_cell, run_colour, section, table, wide, words)
from .runs import Run
from .style import NAMED_CLASSES, by_count, group_spans


def results(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Accuracy overall and by group, with the interval of the test images."""
    records = [run.record for run in runs]
    notes = ''.join(f'<p class="note">{escape(note)}</p>' for note in comparison_notes(records))
    return section('results', 'Results',
                   _cards(records[0]) if len(runs) == 1 else _results_table(records, names),
                   notes, _seeds_table(records), _groups_chart(records, names),
                   _open_set(records, names))


def _cards(record: dict) -> str:
    overall = record['overall']
    items = [('overall accuracy', overall['accuracy'],
              f"{overall['low']:.1f} to {overall['high']:.1f} (95%)")]
    items += [(name, group['accuracy'], f"{group['classes']} classes")
              for name, group in record['groups'].items() if group['accuracy'] is not None]
    items += [('two rarest classes', record['rarest']['accuracy'],
               ', '.join(record['rarest']['names'])),
              ('calibration error', record['calibration']['overall']['ece'], 'lower is better')]
    return '<div class="cards">' + ''.join(
        f'<div><span>{escape(title)}</span><b>{value:.1f}%</b><span>{escape(more)}</span></div>'
        for title, value, more in items) + '</div>'


def _results_table(records: Sequence[dict], names: Sequence[str]) -> str:
    shown = [g for g in GROUPS if any(g in record['groups'] for record in records)]
    head = ['run', 'seed', 'overall', '95% interval', *shown, 'balanced', 'two rarest', 'ECE']
    rows = []
    for i, (name, record) in enumerate(zip(names, records)):
        overall = record['overall']
        rows.append([
            run_cell(name, i), Cell(str(record['seed']), record['seed']) if record.get('seed')
            is not None else Cell('–'), number(overall['accuracy'], 2),
            Cell(f"<small>{overall['low']:.1f} to {overall['high']:.1f}</small>", overall['low']),
            *(number(record['groups'].get(g, {}).get('accuracy'), 2) for g in shown),
            number(record['balanced_accuracy'], 2), number(record['rarest']['accuracy'], 2),
            number(record['calibration']['overall']['ece'], 2)])
    best = {2: 'max', **{4 + i: 'max' for i in range(len(shown) + 2)}, len(head) - 1: 'min'}
    return table(head, rows, 'results', best=best) + (
        '<p class="quiet">Test accuracy in percent, last epoch. The interval is that of the choice '
        'of test images, not of the seed. ECE: expected calibration error; lower is better.</p>')


def _seeds_table(records: Sequence[dict]) -> str:
    """Mean and standard deviation of configs that were run with several seeds."""
    together = experiments(records)
    if all(len(same) == 1 for same in together.values()):
        return ''
    shown = ['overall', *(g for g in GROUPS if any(g in r['groups'] for r in records))]

    rows = []
    for name, same in together.items():
        cells = [words(name), Cell(str(len(same)), len(same))]
        for part in shown:
            values = [part_accuracy(record, part) for record in same]
            cells.append(Cell(spread(values, MISSING), None if None in values else mean(values)))
        rows.append(cells)
    return '<h3>Mean and standard deviation over seeds</h3>' + table(
        ['method', 'seeds', *shown], rows, 'results over seeds',
        best={2 + i: 'max' for i in range(len(shown))})


def _groups_chart(records: Sequence[dict], names: Sequence[str]) -> str:
    if len(records) == 1:
        return ''
    parts = ['overall', *(g for g in GROUPS if any(g in r['groups'] for r in records))]
    chart = Chart(450, 260, (-0.5, len(parts) - 0.5), (0, 100), 'accuracy overall and by group',
                  margins=(46, 16, 10, 26))
    chart.y_axis('accuracy in %')
    chart.x_names(parts)
    width = 0.84 / len(records)
    for i, record in enumerate(records):
        for place, part in enumerate(parts):
            value = part_accuracy(record, part)
            if value is None:
                continue
            left = place - 0.42 + i * width
            chart.box(left, left + 0.92 * width, 0, value, run_colour(i),
                      f'{names[i]}, {part}: {value:.2f}%')
            if len(records) * len(parts) <= 20:
                chart.text(left + 0.46 * width, value, f'{value:.0f}', css='tick', shift=(0, -4))
    pictures = [figure('accuracy by group', chart.svg())]
    if len(parts) > 2:
        pictures.append(figure(f'{parts[1]} against {parts[-1]}',
                               _exchange(records, names, parts[1], parts[-1])))
    return legend(names, [run_colour(i) for i in range(len(names))]) + panels(pictures)


def _exchange(records: Sequence[dict], names: Sequence[str], first: str, last: str) -> str:
    """What rare classes gain against what frequent ones lose, a dot a run."""
    points = [(part_accuracy(record, first), part_accuracy(record, last)) for record in records]
    chart = Chart(450, 260, ends([x for x, _ in points], margin=0.15),
                  ends([y for _, y in points], margin=0.12), f'{first} against {last}',
                  margins=(46, 12, 12, 34))
    chart.y_axis(f'{last}, accuracy in %')
    chart.x_axis(f'{first}, accuracy in %')
    middle = (chart.x.low + chart.x.high) / 2
    for i, (x, y) in enumerate(points):
        if x is not None and y is not None:
            chart.dot(x, y, run_colour(i), f'{names[i]}: {first} {x:.2f}%, {last} {y:.2f}%', 6)
            side, shift = ('start', 10) if x < middle else ('end', -10)
            if len(records) <= 12:
                chart.text(x, y, names[i], anchor=side, shift=(shift, 4))
    return chart.svg()


def _open_set(records: Sequence[dict], names: Sequence[str]) -> str:
    if not any('open_set' in record for record in records):
        return ''
    rows = []
    for i, (name, record) in enumerate(zip(names, records)):
        found = record.get('open_set')
        if found:
            rows.append([run_cell(name, i), number(found['threshold'], 2),
                         *(number(found['f'][v]['f'], 3) for v in ('paper', 'corrected',
                                                                   'textbook')),
                         number(found['auroc'], 2), number(found['accuracy'], 2),
                         *(number(found['groups'].get(g), 2) for g in GROUPS)])
    return '<h3>Open set: with images of unknown classes</h3>' + table(
        ['run', 'threshold', 'F, paper', 'F, corrected', 'F, textbook', 'AUROC', 'accuracy',
         *GROUPS],
        rows, 'open-set results')


def data(runs: Sequence[Run]) -> str:
    """How the training images are spread over the classes, and which images they are."""
    parts, together = [], _same_data(runs)
    for group in together:
        record = group[0].record
        rows = by_count(record)
        counts = [row['train_count'] for row in rows]
        facts = (f'{sum(counts):,} training images of {len(counts)} classes, {max(counts):,} to '
                 f'{min(counts):,} a class (factor {max(counts) / max(min(counts), 1):.0f}); '
                 f"{record['overall']['images']:,} test images.")
        prints = ', '.join(f'{name} <code>{print_[:12]}</code>'
                           for name, print_ in (record.get('fingerprints') or {}).items())
        chart = Chart(1036, 230, (-0.7, len(rows) - 0.3), (max(0.5, min(counts) / 2),
                                                         1.5 * max(counts)),
                      'training images of each class', (56, 16, 10, _axis_height(rows)), log_y=True)
        chart.y_axis('training images', form='{:,.0f}')
        for place, row in enumerate(rows):
            wide_ = 0.38 if len(rows) <= NAMED_CLASSES else 0.5
            chart.box(place - wide_, place + wide_, chart.y.low, row['train_count'],
                      f"var(--{row['group']})",
                      f"{row['name']}: {row['train_count']:,} training images, {row['total']:,} "
                      'test images')
            if len(rows) <= CELLS:
                chart.text(place, row['train_count'], f"{row['train_count']:,}", css='tick',
                           shift=(0, -4))
        _class_axis(chart, rows)
        names = '' if len(together) == 1 else \
            f"<h3>{escape(', '.join(run.record['name'] for run in group))}</h3>"
        parts.append(f'{names}<p>{facts} <span class="quiet">Data: {prints}.</span></p>'
                     f'{group_legend(record)}{wide(chart.svg())}')
    return section('data', 'Data', *parts)


def _same_data(runs: Sequence[Run]) -> list[list[Run]]:
    together: dict[str, list[Run]] = {}
    for run in runs:
        key = str([(row['name'], row['train_count']) for row in run.record['per_class']])
        together.setdefault(key, []).append(run)
    return list(together.values())


def classes(runs: Sequence[Run], names: Sequence[str]) -> str:
    """The accuracy of each class with its interval, as a chart and as a table."""
    rows = by_count(runs[0].record)
    if any([row['name'] for row in run.record['per_class']]
           != [row['name'] for row in runs[0].record['per_class']] for run in runs):
        return ''
    chart = Chart(1036, 320, (-0.7, len(rows) - 0.3), (0, 100), 'accuracy of each class',
                  margins=(46, 12, 10, _axis_height(rows)))
    chart.y_axis('test accuracy in %')
    _class_axis(chart, rows)
    single, dense = len(runs) == 1, len(rows) > NAMED_CLASSES
    for i, run in enumerate(runs):
        shift = 0 if single else (i - (len(runs) - 1) / 2) * 0.6 / len(runs)
        for place, row in enumerate(rows):
            mine = run.record['per_class'][row['index']]
            if mine['accuracy'] is None:
                continue
            colour = f"var(--{row['group']})" if single else run_colour(i)
            tip = (f"{names[i]}: {row['name']} {mine['accuracy']:.1f}% ({mine['low']:.1f} to "
                   f"{mine['high']:.1f}), {mine['correct']} of {mine['total']}")
            if not dense or single:
                chart.interval(place + shift, mine['low'], mine['high'], colour)
            chart.dot(place + shift, mine['accuracy'], colour, tip, radius=2 if dense else 4)
    for name, first, last in group_spans(rows) if single else ():
        value = runs[0].record['groups'][name]['accuracy']
        if value is not None:
            chart.level(value, first - 0.5, last + 0.5, f'var(--{name})',
                        f'mean of {name}: {value:.1f}%', dashed=True)
    head = ['class', 'group', 'training images', *(names if not single else
                                                   ['accuracy', '95% interval', 'correct'])]
    lines = []
    for row in rows:
        mine = [run.record['per_class'][row['index']] for run in runs]
        cells = [number(m['accuracy']) for m in mine]
        if single:
            cells += [Cell('–') if mine[0]['low'] is None else
                      Cell(f"{mine[0]['low']:.1f} to {mine[0]['high']:.1f}", mine[0]['low']),
                      Cell(f"{mine[0]['correct']} of {mine[0]['total']}", mine[0]['correct'])]
        lines.append([words(row['name']), words(row['group']),
                      Cell(f"{row['train_count']:,}", row['train_count']), *cells])
    marks = (group_legend(runs[0].record) if single
             else legend(names, [run_colour(i) for i in range(len(names))]))
    listed = table(head, lines, 'accuracy of each class', left=2)
    if len(rows) > NAMED_CLASSES:
        listed = f'<details><summary>All {len(rows)} classes</summary>{listed}</details>'
    return section('classes', 'Each class', '<p class="quiet">Classes with the most training '
                   'images first; vertical bars are 95% intervals.</p>', marks, wide(chart.svg()), listed)


def _class_axis(chart: Chart, rows: list[dict]) -> None:
    if len(rows) <= NAMED_CLASSES:
        names = [row['name'] if len(row['name']) <= 14 else row['name'][:13] + '…' for row in rows]
        chart.x_names(names, tilted=_tilted(rows))
    else:
        chart.x_axis('class, 0 has the most training images', whole=True)


def _tilted(rows: list[dict]) -> bool:
    """Whether names need more room than their share of the axis."""
    return sum(len(row['name']) + 2 for row in rows) > 150


def _axis_height(rows: list[dict]) -> int:
    return 62 if len(rows) <= NAMED_CLASSES and _tilted(rows) else 34
