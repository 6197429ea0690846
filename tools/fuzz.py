"""Feed `ltcls` configs, lists, images, folders and checkpoints that are broken in one place each.

    python tools/fuzz.py                          # 600 cases, about two minutes
    python tools/fuzz.py --cases 5000 --seed 1
    python tools/fuzz.py --only checkpoint --show

hypothesis draws the faults. Every case must end in one line that begins with 'error:' and names the
culprit, or, where the input is unusual and right (a CMYK photograph), be read rightly. A traceback,
an end without an error, a line that names nothing, a case that hangs, and a file written outside
the run's folder count as failures; the status is then 1. The table goes to docs/results/fuzz.md.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Iterator
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tools')]

import hypothesis  # noqa: E402

import fuzz_configs  # noqa: E402
import fuzz_files  # noqa: E402
import fuzz_images  # noqa: E402
from fuzz_cases import Case  # noqa: E402

from ltcls.cli import main as ltcls  # noqa: E402

# What is broken: the faults, and how many of them are drawn beside those of other kinds.
KINDS = {**fuzz_configs.KINDS, **fuzz_images.KINDS, **fuzz_files.KINDS}
LIMIT = 60             # seconds a case
LONGEST = 1500         # characters of an error
GOOD = ('refused', 'read')


class Hang(BaseException):
    """A case that does not end; no handler of errors may take it for one."""


def run(case: Case, folder: Path) -> tuple[str, str]:
    """What became of a case, and the line that it ended with.

    'refused' and 'read' are right; everything else is a failure.
    """
    run_dir, before = folder / 'run', snapshot(folder)
    out, err = io.StringIO(), io.StringIO()
    try:
        with limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), \
                warnings.catch_warnings(), patch('ltcls.analysis.plots.write_plots',
                                                 lambda *arguments: []):
            warnings.simplefilter('ignore')
            if case.reads is not None:
                return ('read', '') if case.reads() is None else ('wrong', str(case.reads()))
            status = ltcls([str(run_dir) if word == '{run}' else str(word)
                            for word in case.arguments])
    except Hang:
        return 'hangs', f'no end after {LIMIT} s'
    except BaseException as error:
        return 'escapes', f'{type(error).__name__}: {error}'
    said = err.getvalue()
    lines = [line for line in said.splitlines() if line.startswith('error: ')]
    line = lines[0] if lines else said.strip()[-300:]
    written = sorted(path for path, _ in before.items() ^ snapshot(folder).items())
    if written:
        return 'writes', f'outside the run: {written[0]}'
    if status == 0 and case.words and all(word in out.getvalue() for word in case.words):
        return 'read', case.words[0]
    if status == 0:
        return 'silent', out.getvalue().strip()[-200:]
    if status != 2 or len(lines) != 1 or 'Traceback' in said or len(line) > LONGEST:
        return 'unclear', line
    if not any(str(culprit) in line for culprit in case.culprits):
        return 'nameless', line
    if case.suggestion and case.suggestion not in line:
        return 'no hint', line
    return 'refused', line


@contextlib.contextmanager
def limited():
    def stop(number, frame):
        raise Hang
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[str, tuple]:
    """Every file but those of the run, with size and time of its last change.

    Libraries such as matplotlib keep caches in the home; they are not ours.
    """
    found, left_out = {}, (str(folder / 'run'), str(folder / 'home'))
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if os.path.join(path, name) not in left_out]
        for name in (*folders, *files):
            status = os.lstat(os.path.join(path, name))
            kind = () if name in folders else (status.st_size, status.st_mtime_ns)
            found[os.path.join(path, name)] = kind
    return found


@contextlib.contextmanager
def sandbox():
    """A folder to work in that is home, temporary folder and working directory at once."""
    with tempfile.TemporaryDirectory(prefix='ltcls-fuzz-') as name:
        folder, here = Path(name), os.getcwd()
        for part in ('tmp', 'home'):
            (folder / part).mkdir()
        temporary, home = str(folder / 'tmp'), str(folder / 'home')
        with patch.dict(os.environ, HOME=home, TMPDIR=temporary, LTCLS_DEBUG='0',
                        TORCHINDUCTOR_CACHE_DIR=home), \
                patch.object(tempfile, 'tempdir', temporary):
            os.chdir(folder)
            try:
                yield folder
            finally:
                os.chdir(here)


def fuzz(kind: str, count: int, seed: int, folder: Path) -> list[dict]:
    """Run `count` cases of a kind, fewer where there are not as many different ones."""
    found: dict[str, dict] = {}

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=3 * count, database=None, deadline=None,
                         phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(KINDS[kind][0])
    def one(make):
        if len(found) >= count or make.what in found:
            return
        inputs = folder / 'inputs'
        for path in (inputs, folder / 'run'):
            shutil.rmtree(path, ignore_errors=True)
        inputs.mkdir()
        outcome, line = run(make(inputs), folder)
        found[make.what] = dict(kind=kind, case=make.what, outcome=outcome,
                                line=line.replace(str(folder), '.'))

    one()
    return list(found.values())


def shares(cases: int, kinds: list[str]) -> dict[str, int]:
    """How many of the cases each kind gets: more where there are more different faults."""
    whole = sum(KINDS[kind][1] for kind in kinds)
    return {kind: -(-cases * KINDS[kind][1] // whole) for kind in kinds}


def campaign(cases: int, seed: int, only: str = '') -> Iterator[dict]:
    """All kinds of faults, or those whose name contains `only`."""
    kinds = [kind for kind in KINDS if only in kind]
    with sandbox() as folder:
        for kind, count in shares(cases, kinds).items():
            yield from fuzz(kind, count, seed, folder)


def table(results: list[dict], seed: int) -> str:
    lines = ['# Broken input', '',
             f'{len(results)} cases of `tools/fuzz.py`, seed {seed}: each input is broken in one '
             'place. Refused: one line', 'that names the culprit. Read: unusual input, read '
             'rightly. Failed: anything else.', '',
             '| what is broken | cases | refused | read | failed |', '|---|---|---|---|---|']
    kinds = dict.fromkeys(result['kind'] for result in results)
    for kind in (*kinds, 'together'):
        counts = Counter(r['outcome'] for r in results if kind in (r['kind'], 'together'))
        failed = sum(n for outcome, n in counts.items() if outcome not in GOOD)
        lines.append(f"| {kind} | {sum(counts.values())} | {counts['refused']} | {counts['read']} "
                     f'| {failed} |')
    lines += ['', 'One example of each, as it is answered:', '']
    for kind in kinds:
        lines += [f"- {kind}, {r['case']}: `{r['line']}`" for r in results
                  if r['kind'] == kind and r['outcome'] == 'refused'][:1]
    return '\n'.join(lines) + '\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=int, default=600)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', help='a part of the name of the kinds to run')
    parser.add_argument('--show', action='store_true', help='print every case')
    parser.add_argument('--output', type=Path, help='folder of fuzz.md and fuzz.json')
    options = parser.parse_args()
    started = time.time()
    results = []
    for result in campaign(options.cases, options.seed, options.only):
        results.append(result)
        if options.show or result['outcome'] not in GOOD:
            print(f"{result['outcome']:9} {result['kind']}: {result['case']}\n"
                  f"          {result['line']}", flush=True)
    failed = sum(result['outcome'] not in GOOD for result in results)
    print(f'{len(results)} cases in {time.time() - started:.0f} s, {failed} failed')
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / 'fuzz.md').write_text(table(results, options.seed))
        (options.output / 'fuzz.json').write_text(json.dumps(
            dict(seed=options.seed, cases=results), indent=1) + '\n')
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
