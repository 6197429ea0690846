"""The sections of a report about how runs were made: learning curves, configs, cost, commands."""

import json
import math
from html import escape
from typing import Any, Sequence

from ltcls.evaluation.scores import GROUPS

from .charts import Chart, ends
from .report_html import (Cell, figure, legend, number, panels, part_colour, run_cell, run_colour,
                          section, table, words)
from .runs import Run

ABSENT = '∅'


def curves(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Training loss and validation accuracy over the epochs; of one run, its learning rate."""
    if not any(run.log for run in runs):
        return ''
    pictures = [figure('training loss', _curves(
        [(run_colour(i) if len(runs) > 1 else 'var(--ink)', name, _series(run, 'loss'))
         for i, (name, run) in enumerate(zip(names, runs))], 'training loss'))]
    if len(runs) == 1:
        lines = [(part_colour(part), part, _series(runs[0], part, validated=True))
                 for part in ('overall', *GROUPS)]
        pictures.append(figure('validation accuracy in %', _curves(lines, 'validation accuracy')))
        pictures.append(figure('learning rate', _curves(
            [('var(--ink)', 'learning rate', _series(runs[0], 'lr'))], 'learning rate')))
        marks = legend([name for _, name, line in lines if line],
                       [colour for colour, _, line in lines if line])
    else:
        rarest = [g for g in GROUPS if any(g in run.record['groups'] for run in runs)][-1]
        for part in dict.fromkeys(['overall', rarest]):
            pictures.append(figure(f'validation accuracy in %, {part}', _curves(
                [(run_colour(i), name, _series(run, part, validated=True))
                 for i, (name, run) in enumerate(zip(names, runs))], f'validation, {part}')))
        marks = legend(names, [run_colour(i) for i in range(len(names))])
    caption = ('<p class="quiet">Over the epochs of the last stage alone. The loss is the one that '
               'was minimised: those of different methods are not comparable.</p>')
    return section('curves', 'Learning curves', caption, marks, panels(pictures))


def _series(run: Run, key: str, validated: bool = False) -> list[tuple[float, float]]:
    if validated:
        key = 'accuracy' if key == 'overall' else key
        return [(e['epoch'], e['val'][key]) for e in run.log if key in (e.get('val') or {})]
    return [(e['epoch'], e[key]) for e in run.log if e.get(key) is not None
            and math.isfinite(e[key])]


def _curves(lines: Sequence[tuple[str, str, list]], label: str) -> str:
    points = [point for _, _, line in lines for point in line]
    if not points:
        return '<p class="quiet">none</p>'
    last = max(x for x, _ in points)
    high = ends([y for _, y in points], zero=True)
    if label.startswith('validation'):
        high = ends([y for _, y in points])
        high = (max(0.0, high[0]), min(100.0, high[1]))
    chart = Chart(345, 220, (min(1, last - 1), last), high, label, margins=(44, 10, 12, 34))
    chart.y_axis()
    chart.x_axis('epoch', whole=True)
    for colour, name, line in lines:
        chart.line(line, colour, name)
        marked = line if len(line) <= 12 else line[-1:]
        for x, y in marked:
            chart.dot(x, y, colour, f'{name}: {y:.4g} in epoch {x}', radius=2.6)
    return chart.svg()


def configs(runs: Sequence[Run], names: Sequence[str]) -> str:
    """What differs between the configs; of one run, its config."""
    if len(runs) == 1:
        text = escape(json.dumps(runs[0].config, indent=1))
        return section('config', 'Config', '<details><summary>The complete config</summary>'
                       f'<pre>{text}</pre></details>')
    flat = [flat_config(run.config) for run in runs]
    rows = []
    for key in sorted({key for one in flat for key in one}):
        values = [one.get(key, ABSENT) for one in flat]
        if any(value != values[0] for value in values[1:]):
            rows.append([words(key), *(Cell(f'<code>{escape(value)}</code>', '', 'left wrap')
                                       for value in values)])
    if not rows:
        return section('config', 'Config', '<p>All runs have the same config.</p>')
    return section('config', 'What differs in the configs',
                   f'<p class="quiet">{ABSENT}: the config has no such key.</p>',
                   table(['key', *names], rows, 'differences of the configs', left=1 + len(names)))


def flat_config(node: Any, key: str = '') -> dict[str, str]:
    """{'optim_wrapper.optimizer.lr': '0.1', ...}; short lists of plain values stay one value."""
    if isinstance(node, dict) and node:
        pairs = [(f'{key}.{name}' if key else str(name), value) for name, value in node.items()]
    elif isinstance(node, list) and any(isinstance(item, (dict, list)) for item in node):
        pairs = [(f'{key}[{i}]', value) for i, value in enumerate(node)]
    else:
        return {key: node if isinstance(node, str) else json.dumps(node)}
    found = {}
    for name, value in pairs:
        found.update(flat_config(value, name))
    return found


def cost(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Time, speed, parameters and memory."""
    rows = []
    for i, (name, run) in enumerate(zip(names, runs)):
        record = run.record
        speeds = sorted(e['images_per_second'] for e in run.log if e.get('images_per_second'))
        parameters, memory = record.get('parameters'), record.get('peak_memory')
        rows.append([
            run_cell(name, i), number(record.get('epoch'), 0),
            _duration(record.get('training_time')), _duration(record.get('wall_time')),
            number(speeds[len(speeds) // 2] if speeds else None, 0),
            Cell('–') if parameters is None else number(parameters / 1e6, 2, ' M'),
            Cell('–') if memory is None else number(memory / 2 ** 20, 0, ' MiB'),
            words(record.get('precision') or '–'), words(_machine(record.get('hardware') or {}))])
    return section('cost', 'Cost', table(
        ['run', 'epochs', 'training', 'with tests', 'images/s', 'parameters', 'peak memory',
         'precision', 'on'], rows, 'cost'),
        '<p class="quiet">Of the last stage alone: a recipe adds those of the stages it starts '
        'from. Images/s is the median over epochs.</p>')


def _duration(seconds: float | None) -> Cell:
    if seconds is None:
        return Cell('–')
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f'{hours} h {minutes:02} min' if hours else f'{minutes} min {rest:02} s'
    return Cell(text, seconds)


def _machine(hardware: dict) -> str:
    if hardware.get('gpu'):
        return f"{hardware.get('gpus', 1)} x {hardware['gpu']}"
    threads = hardware.get('threads')
    return ', '.join(str(part) for part in (
        hardware.get('cpu'), threads and f"{threads} thread{'s' * (threads > 1)}") if part)


def provenance(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Commands, dates and versions."""
    commands = '\n'.join(dict.fromkeys(run.record.get('command') or '' for run in runs))
    rows = [[run_cell(name, i), words(run.record['name']), words(run.record.get('date') or '–'),
             words(str(run.folder))] for i, (name, run) in enumerate(zip(names, runs))]
    versions = dict.fromkeys(
        ', '.join(f'{package} {version}' for package, version in found.items())
        for found in (run.record.get('versions') or {} for run in runs))
    return section('made', 'How this was made', f'<pre>{escape(commands)}</pre>', table(
        ['run', 'config', 'finished', 'folder'], rows, 'origin of the runs', left=4),
        *(f'<p class="quiet">{escape(line)}</p>' for line in versions if line))
