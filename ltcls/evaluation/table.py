"""Tables of one run and of several, for the terminal and as markdown."""

import json
from statistics import mean, stdev
from typing import Sequence

from terminaltables import AsciiTable, GithubFlavoredMarkdownTable

from ltcls.evaluation.scores import GROUPS, part_accuracy, top_accuracies

MISSING = '-'
ALL_CLASSES_UP_TO = 20
COLUMNS = ('overall', *GROUPS, 'balanced', 'ece', 'two rarest')


def run_table(record: dict) -> str:
    """One run: overall and groups, then its classes with their 95% intervals.

    Up to 20 classes are all listed; of more, the five best and the five worst.
    """
    return '\n'.join([_headline(record), scores_table(record),
                      class_table(record), *_open_set(record)])


def scores_table(record: dict) -> str:
    """Overall, group and balanced accuracy, and the calibration error of each, in percent."""
    overall, errors = record['overall'], record['calibration']
    rows = [['', 'classes', 'test images', 'accuracy', 'ECE', 'which classes'],
            ['overall', len(record['per_class']), overall['images'], _percent(overall['accuracy']),
             _percent(errors['overall']['ece']),
             f"95% interval {_percent(overall['low'])} to {_percent(overall['high'])}"]]
    for name in GROUPS:
        group = record['groups'].get(name, {})
        rows.append([name, group.get('classes', 0), group.get('images', 0),
                     _percent(group.get('accuracy')),
                     _percent(errors['groups'].get(name, {}).get('ece')),
                     record['group_rule'][name]])
    rarest = record['rarest']
    rows.append(['two rarest', len(rarest['classes']), '', _percent(rarest['accuracy']), '',
                 ', '.join(rarest['names'])])
    rows.append(['balanced', '', '', _percent(record['balanced_accuracy']), '',
                 'mean of the classes'])
    rows += [[f'top-{k}', '', '', _percent(value), '', '']
             for k, value in top_accuracies(overall).items()]
    return render(rows, left=(0, 5))


def class_table(record: dict) -> str:
    """Each class with training images, test images and accuracy with its 95% interval."""
    head = ['class', 'group', 'train images', 'correct', 'tested', 'accuracy', '95% interval']
    rows = [[row['name'], row['group'], row['train_count'], row['correct'], row['total'],
             _percent(row['accuracy']), f"{_percent(row['low'])} to {_percent(row['high'])}"]
            for row in _shown_classes(record)]
    listed = render([head, *rows])
    if len(record['per_class']) > ALL_CLASSES_UP_TO:
        listed += f"\nThe 5 best and the 5 worst of {len(record['per_class'])} classes."
    return listed


def comparison_table(records: Sequence[dict], markdown: bool = False,
                     average: bool = False) -> str:
    """Several runs, one a line, in percent; notes below say where runs are not comparable.

    Args:
        records: as read by `read_record`.
        markdown: GitHub's table syntax instead of a terminal table.
        average: runs of the same config in one line, as mean and standard deviation over seeds;
            see `experiments`.
    """
    names = display_names(records)
    head = ['method', 'seeds' if average else 'seed', *COLUMNS]
    if average:
        rows = [[name, len(runs), *map(spread, zip(*map(_numbers, runs)))]
                for name, runs in experiments(records).items()]
    else:
        rows = [[name, MISSING if record.get('seed') is None else record['seed'],
                 *map(_percent, _numbers(record))] for name, record in zip(names, records)]
    return '\n'.join([render([head, *rows], markdown, left=(0,)), *comparison_notes(records)])


def comparison_notes(records: Sequence[dict]) -> list[str]:
    """What a reader of a comparison must know, one sentence each; none for comparable runs."""
    def differ(pick) -> bool:
        return any(pick(record) != pick(records[0]) for record in records[1:])

    notes = []
    if differ(lambda r: [row['name'] for row in r['per_class']]):
        notes.append('Note: the runs have different classes.')
    elif differ(lambda r: [row['train_count'] for row in r['per_class']]):
        notes.append('Note: the runs were trained on different class counts.')
    elif any(len(prints) > 1 for prints in _fingerprints(records)):
        notes.append('Note: the runs used different images (their data fingerprints differ).')
    if differ(lambda r: r['group_rule']):
        notes.append('Note: many, medium and few are defined differently in these runs.')
    chosen = [f"{r['name']} (seed {r.get('seed')})" for r in records if r.get('selected_on_test')]
    if chosen:
        notes.append(f'Note: the epoch was selected on the test set in {", ".join(chosen)}.')
    return notes


def _fingerprints(records: Sequence[dict]) -> list[set[str]]:
    """The training data's and the test data's, of the records that know them (a test knows one)."""
    known = [record.get('fingerprints', {}) for record in records]
    return [{prints[part] for prints in known if part in prints} for part in ('train', 'test')]


def _numbers(record: dict) -> list[float | None]:
    """The comparison's columns, in their order."""
    parts = [part_accuracy(record, part) for part in ('overall', *GROUPS)]
    return [*parts, record['balanced_accuracy'],
            record['calibration']['overall']['ece'], record['rarest']['accuracy']]


def spread(values: Sequence[float | None], missing: str = MISSING) -> str:
    """'71.40', or mean and sample standard deviation of several: '71.40 ± 0.30'."""
    if not values or None in values:
        return missing
    deviation = f' ± {stdev(values):.2f}' if len(values) > 1 else ''
    return f'{mean(values):.2f}{deviation}'


def display_names(records: Sequence[dict]) -> list[str]:
    """Method names where backbone and data are the same throughout, else full config names."""
    settings = {record['name'].removeprefix(record.get('method', '')) for record in records}
    return [record['method'] if len(settings) == 1 and record.get('method') else record['name']
            for record in records]


def experiments(records: Sequence[dict]) -> dict[str, list[dict]]:
    """The runs by method, each group the seeds of one config on the same training images.

    Groups of the same name, of other settings or with a seed once more, are numbered.
    """
    groups: dict[tuple, list[dict]] = {}
    for name, record in zip(display_names(records), records):
        settings = json.dumps(_settings(record.get('config')), sort_keys=True)
        key = name, settings, record.get('fingerprints', {}).get('train')
        again = sum(run.get('seed') == record.get('seed')
                    for found, runs in groups.items() if found[:3] == key for run in runs)
        groups.setdefault((*key, again), []).append(record)
    names = [name for name, *_ in groups]
    return {name if names.count(name) == 1 else f'{name} ({names[:i + 1].count(name)})': runs
            for i, (name, runs) in enumerate(zip(names, groups.values()))}


def _settings(node):
    """A config without the seed and without where the data are."""
    if isinstance(node, dict):
        return {key: _settings(value) for key, value in node.items()
                if key not in ('randomness', 'root')}
    return [_settings(item) for item in node] if isinstance(node, (list, tuple)) else node


def _headline(record: dict) -> str:
    parts = [record['name']] if 'name' in record else []
    parts += [f'{key} {record[key]}' for key in ('seed', 'epoch') if record.get(key) is not None]
    best = record.get('best')
    if best:
        parts.append(f"best on the {best.get('on', 'test')} set {_percent(best['accuracy'])} at "
                     f"epoch {best['epoch']}")
    if record.get('selected_on_test'):
        parts.append('epoch selected on the test set')
    return ', '.join(parts)


def _open_set(record: dict) -> list[str]:
    """One line on unknown classes, where they were tested."""
    found = record.get('open_set')
    if not found:
        return []
    readings = ', '.join(f"{one['f']:.3f} ({variant})" for variant, one in found['f'].items())
    groups = ', '.join(f'{name} {value:.2f}' for name, value in found['groups'].items())
    return [f"Open set, {found['images']['unknown']} unknown images, threshold "
            f"{found['threshold']:g}: F {readings}; AUROC {_percent(found['auroc'])}; with "
            f"rejection {groups}"]


def _shown_classes(record: dict) -> list[dict]:
    rows = record['per_class']
    if len(rows) <= ALL_CLASSES_UP_TO:
        return rows
    ranked = sorted((row for row in rows if row['total']), key=lambda row: -row['accuracy'])
    return ranked[:5] + ranked[5:][-5:]


def _percent(value: float | None) -> str:
    return MISSING if value is None else f'{value:.2f}'


def render(rows: list[list], markdown: bool = False, left: Sequence[int] = (0, 1)) -> str:
    """A table, its first row the head; the columns `left` stand left, numbers right."""
    cells = [[str(cell) for cell in row] for row in rows]
    if markdown:
        cells = [[cell.replace('|', '\\|') for cell in row] for row in cells]
    table = GithubFlavoredMarkdownTable(cells) if markdown else AsciiTable(cells)
    table.justify_columns = {i: 'left' if i in left else 'right' for i in range(len(cells[0]))}
    return table.table
