"""The measured numbers in the tables of the method pages, configs/*/README.md, from records.

Three kinds of cells hold what was measured; everything else on a page is written by hand:

- the row "`gcl`, ours" under a column that names the rest of a config (`cifar10`, `digits`,
  `resnet50_imagenet`), or a group of classes (many, medium, few, all);
- the row "ours" under a row that names a method in each column, on CIFAR-10;
- the column "ours" in a row that names its config.

A number of images that are a JPEG copy says so, and gives way to one of the original images.
"""

import re
from pathlib import Path
from typing import Iterable, NamedTuple

from ltcls.evaluation.scores import part_accuracy
from ltcls.evaluation.table import spread

NO_CONFIG = '–'      # there is none for this cell; an empty cell has not been run
GROUPS = ('many', 'medium', 'few', 'all')
COPIES = 'JPEG', 'results/studies/cifar10-sensitivity.md'     # what they are called, and what they cost
OURS = re.compile(r'`([^`]+)`, ours(?: \(.*\))?')
NAMED = re.compile(r'`([^`]+)`')


def filled(text: str, runs: Iterable, configs: Iterable[str], links: str,
           copies: Iterable[str] = ()) -> str:
    """A page with the measured cells of its tables written anew.

    Args:
        runs: each with its `path` below the repository, whose fourth folder is the study, and its
            `record`.
        configs: all names.
        links: where docs lies, seen from the page.
        copies: test fingerprints of copies of a data set.
    """
    studies = _by_config(runs, set(copies))
    lines = text.split('\n')
    header, above = None, None
    for number, line in enumerate(lines):
        if not line.startswith('|'):
            header = above = None
            continue
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if header is None:
            header = cells
        changed = line.strip('|').split('|')
        for column, config, parts in _measured(header, above, cells, set(configs)):
            value = _value(studies.get(config), parts, links) if config else NO_CONFIG
            changed[column] = f' {value} '
        lines[number] = f"|{'|'.join(changed)}|"
        above = cells
    return '\n'.join(lines)


def _measured(header: list[str], above: list[str] | None, cells: list[str], configs: set[str]):
    """Column, config and groups ('all' for the overall accuracy) of the measured cells of a row."""
    label = OURS.fullmatch(cells[0])
    for column in range(1, len(cells)):
        config, parts = None, ['overall']
        if label and header[column] in GROUPS:
            config, parts = _config(label[1], '', configs), [header[column]]
        elif label:
            config = _config(label[1], header[column], configs)
        elif cells[0] == 'ours' and above and NAMED.fullmatch(above[column]):
            config = _config(above[column].strip('`'), 'cifar10', configs)
        elif header[column] == 'ours':
            named = [_config(name[1], header[place].strip('`'), configs)
                     for place, cell in enumerate(cells) if (name := NAMED.fullmatch(cell))]
            config = next(filter(None, named), None)
            if any(cell.count(',') == 3 for cell in cells):      # published by groups
                parts = list(GROUPS)
        if config or label and cells[column] in ('', NO_CONFIG):
            yield column, config, parts


def _config(method: str, ending: str, configs: set[str]) -> str | None:
    names = (f'{method}_{ending}', f'{method}_resnet32_{ending}', f'{method}_resnet20_{ending}',
             f'{method}_vit_{ending}', method)
    return next((name for name in names if name in configs), None)


class _Found(NamedTuple):
    study: str
    records: list[dict]
    copied: bool


def _by_config(runs: Iterable, copies: set[str]) -> dict[str, _Found]:
    """Of each config the study with the most seeds, or the latest; original images first."""
    found = {}
    for run in runs:
        study, copied = Path(run.path).parts[3], run.record['fingerprints'].get('test') in copies
        found.setdefault(run.record['name'], {}).setdefault((study, copied), []).append(run.record)

    def weight(item):
        (_, copied), records = item
        return not copied, len(records), max(record['date'] for record in records)

    best = {config: max(studies.items(), key=weight) for config, studies in found.items()}
    return {config: _Found(study, records, copied)
            for config, ((study, copied), records) in best.items()}


def _value(found: _Found | None, parts: list[str], links: str) -> str:
    if found is None:
        return ''
    parts = ['overall' if part == 'all' else part for part in parts]
    text = ', '.join(spread([part_accuracy(record, part) for record in found.records])
                     for part in parts)
    page = 'results.md' if found.study == 'reproduce' else f'results/studies/{found.study}.md'
    name, reason = COPIES
    note = f' ([{name}]({links}/{reason}))' if found.copied else ''
    return f'[{text}]({links}/{page}){note}'
