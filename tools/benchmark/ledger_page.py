"""The page docs/results.md, made from the rows of the ledger alone."""

import re
from itertools import groupby

GROUPS = ('accuracy', 'many', 'medium', 'few', 'top3', 'top5', 'open-set F')
INTRODUCTION = """\
# Published and measured results

Every published number that a config of this repository answers, or will answer, with what was
measured here beside it. Accuracy in percent on the balanced test set, of the last epoch; numbers
that a paper gives as errors are converted.

| status | meaning |
|---|---|
| reproduced | the mean over our seeds is at most 0.5 below the published number |
| not reproduced | it is further below; what was tried stands under the table |
| measured | there is no published number to compare with |
| not run | no run yet; without a config in the table, its config is still to be written |
| cannot run here | data or weights were not at hand |

The public code of GCL, LDAM-DRW, MiSLAS and Bag of Tricks tests after each epoch and reports the
best one; ours is the last, and the best of every tenth stands in the notes.

*Ours* is the mean over seeds ± their standard deviation, with the number of seeds in brackets.
*Gap* is ours minus published. *Cost* is the training time of one seed in minutes with all its
stages, on a machine that other runs may have shared. *Source* is one table that prints the number,
and how many more do. A `q` marks a number that its source quotes from elsewhere, a `?` one that is
doubtful as printed. Where the images were not the original release, the notes say so. How rows are
run: [reproducing](reproduce.md). The rows with all their sources:
[ledger.json](results/ledger.json).
"""
STAND_IN = """\
A stand-in for CIFAR-100-LT where that is not at hand: 100 classes of Tiny ImageNet at 32x32, with
the same class sizes and the same configs. The published numbers do not apply to it; the column
*CIFAR-100-LT* shows them because the order of the methods can be compared.
"""


def page(rows: list[dict]) -> str:
    """The page as Markdown; data sets in the order in which the ledger has them."""
    parts = [INTRODUCTION, '## Overview', '', *_overview(rows)]
    for dataset, members in _by(rows, 'dataset'):
        parts += ['', f'## {dataset}', '']
        if members[0]['stand_in']:
            parts += [STAND_IN]
        parts += _section(members)
    return re.sub(r'\n{3,}', '\n\n', '\n'.join(parts)) + '\n'


def _by(rows: list[dict], key: str) -> list[tuple[str, list[dict]]]:
    names = list(dict.fromkeys(row[key] for row in rows))
    return [(name, [row for row in rows if row[key] == name]) for name in names]


def _overview(rows: list[dict]) -> list[str]:
    states = ('reproduced', 'not reproduced', 'measured', 'not run', 'cannot run here')
    lines = [_line(['data', 'numbers', *states]), _rule(7)]
    for dataset, members in _by(rows, 'dataset'):
        counts = [sum(row['status'] == state for row in members) for state in states]
        anchor = re.sub(r'[^\w\- ]', '', dataset.lower()).replace(' ', '-')
        lines.append(_line([f'[{dataset}](#{anchor})', len(members),
                            *(count or '' for count in counts)]))
    return lines


def _section(rows: list[dict]) -> list[str]:
    """Rows that can be run in full; the others in short, their metrics side by side."""
    notes: list[str] = []
    full = [row for row in rows if row['config'] or row['ours']]
    short = [row for row in rows if not (row['config'] or row['ours'])]
    lines = _full_table(full, notes) if full else []
    if short:
        lines += ['', 'Without a config so far:' if full else '', '', *_short_table(short, notes)]
    if notes:
        lines += ['', *(f'{number}. {note}' for number, note in enumerate(notes, start=1))]
    return lines


def _full_table(rows: list[dict], notes: list[str]) -> list[str]:
    table = []
    for row in rows:
        ours, published = row['ours'], row['published']
        gap = '' if ours is None or published is None else f"{ours['mean'] - published:+.2f}"
        table.append({
            'method': row['method'],
            'metric': row['metric'],
            'CIFAR-100-LT': _number(row['beside']),
            'published': _published(row),
            'source': _source(row),
            'ours': _ours(ours),
            'gap': gap,
            'cost': '' if row['cost'] is None else f"{row['cost']:.0f}",
            'hardware': row['hardware'] or '',
            'config': f"`{row['config']}`" if row['config'] else '',
            'status': row['status'],
            'notes': _references(row, notes),
        })
    unused = {'published', 'source', 'gap'} if rows[0]['stand_in'] else {'CIFAR-100-LT'}
    if all(row['metric'] == 'accuracy' for row in rows):
        unused.add('metric')
    head = [name for name in table[0] if name not in unused]
    return [_line(head), _rule(len(head)), *(_line([row[name] for name in head]) for row in table)]


def _short_table(rows: list[dict], notes: list[str]) -> list[str]:
    metrics = [name for name in GROUPS if any(row['metric'] == name for row in rows)]
    head = ['method', 'backbone', *metrics, 'source', 'status', 'notes']
    lines = [_line(head), _rule(len(head))]

    def entry(row):
        return row['method'], row['backbone'], row['planned']

    for (method, backbone, _), members in groupby(rows, key=entry):
        # One line holds one number a metric; a method that several tables print takes several.
        members = list(members)
        while members:
            cells = {}
            for row in members:
                cells.setdefault(row['metric'], row)
            members = [row for row in members if cells[row['metric']] is not row]
            shown = list(cells.values())
            references = ', '.join(filter(None, (_references(row, notes) for row in shown)))
            lines.append(_line([
                method, backbone, *(_published(cells[m]) if m in cells else '' for m in metrics),
                _source(shown[0]), shown[0]['status'],
                ', '.join(dict.fromkeys(references.split(', ')))]))
    return lines


def _references(row: dict, notes: list[str]) -> str:
    """Numbers of the row's notes; a note that several rows share is written once."""
    own = [row['note'], row['recipe'] and row['config'] and f"Schedule of the config: {row['recipe']}",
           row['data'] and f"Images: {row['data']}",
           *(f'Tried: {attempt}' for attempt in row['tried']),
           row['status'] == 'cannot run here' and row['obstacle']]
    numbers = []
    for note in filter(None, own):
        note = note[0].upper() + note[1:] + '.'
        if note not in notes:
            notes.append(note)
        numbers.append(notes.index(note) + 1)
    return ', '.join(str(number) for number in numbers)


def _published(row: dict) -> str:
    mark = ' ?' if row['doubtful'] else ' q' if row['quoted'] else ''
    return _number(row['published']) + mark


def _source(row: dict) -> str:
    """The first source without its rows and remarks, and how many more print the number."""
    if not row['published_source']:
        return ''
    first, *others = row['published_source']
    return re.split(r", '| \(printed", first)[0] + (f' +{len(others)}' if others else '')


def _ours(ours: dict | None) -> str:
    if ours is None:
        return ''
    spread = '' if ours['std'] is None else f" ± {ours['std']:.2f}"
    return f"{ours['mean']:.2f}{spread} ({len(ours['seeds'])})"


def _number(value: float | None) -> str:
    """Two digits, or one where the paper gives one."""
    if value is None:
        return ''
    return f'{value:.1f}' if round(value, 1) == value else f'{value:.2f}'


def _line(cells: list) -> str:
    return '| ' + ' | '.join(str(cell) for cell in cells) + ' |'


def _rule(columns: int) -> str:
    return '|' + '---|' * columns
