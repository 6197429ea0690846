"""`ltcls report`."""

import argparse
from pathlib import Path

HELP = 'one HTML file about a run, or a comparison of several'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `ltcls report` takes."""
    command.add_argument('runs', nargs='+', metavar='RUN', help='folder of a finished run')
    command.add_argument('-o', '--out', type=Path, default=Path('report.html'),
                         help='the file to write; report.html by default')
    command.add_argument('--title', help='title of the page')


def run(options: argparse.Namespace) -> None:
    """Write the report."""
    from ltcls.analysis.report import write_report
    from ltcls.analysis.runs import open_runs
    path = write_report(open_runs(options.runs), options.out, options.title)
    print(f'{path}, {path.stat().st_size / 1024:.0f} KiB')
