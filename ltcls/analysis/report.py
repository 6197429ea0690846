"""One HTML file that shows a run, or compares several; it needs no other file and no network."""

import datetime
from html import escape
from pathlib import Path
from typing import Sequence

from ltcls import __version__

from . import report_course, report_errors, report_measured, report_results
from .report_style import CSS, JS
from .runs import Run, run_names

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header><div><h1>{title}</h1><p class="quiet">{about}</p></div></header>
<nav aria-label="sections"><div>{links}
<button class="theme" type="button" hidden>light / dark</button></div></nav>
<main>
{sections}
<footer>Made by ltcls {version} from evaluation.json, log.jsonl and the files of
<code>ltcls analyze</code>. Click a column's title to sort; hold the pointer on a mark to read
it.</footer>
</main>
<script>{js}</script>
</body>
</html>
"""


def build_report(runs: Sequence[Run], title: str | None = None) -> str:
    """The page.

    Args:
        runs: at least one.
        title: of the page; the config's name, or the methods, otherwise.

    Raises:
        ValueError: no runs.
    """
    if not runs:
        raise ValueError('A report needs at least one run.')
    names = run_names(runs)
    parts = {
        'Results': report_results.results(runs, names),
        'Data': report_results.data(runs),
        'Each class': report_results.classes(runs, names),
        'Learning': report_course.curves(runs, names),
        'Confusion': report_errors.mistakes(runs, names),
        'Calibration': report_errors.calibration(runs, names),
        'Features': report_measured.features(runs, names),
        'Flatness': report_measured.flat(runs, names),
        'Config': report_course.configs(runs, names),
        'Cost': report_course.cost(runs, names),
        'Origin': report_course.provenance(runs, names),
    }
    links = ''.join(f'<a href="#{_anchor(html)}">{name}</a>'
                    for name, html in parts.items() if html)
    return PAGE.format(
        title=escape(title or _title(runs, names)), about=escape(_about(runs)), css=CSS, js=JS,
        links=links, version=escape(__version__),
        sections='\n'.join(html for html in parts.values() if html))


def write_report(runs: Sequence[Run], path: str | Path, title: str | None = None) -> Path:
    """Write the page to a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(build_report(runs, title), encoding='utf-8', errors='replace')
    return path


def _anchor(html: str) -> str:
    return html.split('id="', 1)[1].split('"', 1)[0]


def _title(runs: Sequence[Run], names: Sequence[str]) -> str:
    if len(runs) == 1:
        return runs[0].record['name']
    shown = ', '.join(names[:6]) + (f' and {len(names) - 6} more' if len(names) > 6 else '')
    settings = {run.record['name'].removeprefix(run.record['method'] + '_') for run in runs}
    return f'{shown} on {settings.pop()}' if len(settings) == 1 else shown


def _about(runs: Sequence[Run]) -> str:
    record = runs[0].record
    first = (f"{len(runs)} runs" if len(runs) > 1 else
             f"seed {record.get('seed')}, {record.get('epoch')} epochs")
    counts = [row['train_count'] for row in record['per_class']]
    made = datetime.date.today().isoformat()
    return (f'{first}; {len(counts)} classes, {sum(counts):,} training and '
            f"{record['overall']['images']:,} test images; written {made}")
