"""Run the open rows of the ledger, most valuable first, several at once, within a time limit.

    python tools/benchmark/reproduce.py --dry-run                    # what would be run
    python tools/benchmark/reproduce.py --hours 0.4 --parallel 8     # on a GPU
    python tools/benchmark/reproduce.py --only mislas --seeds 0      # on a CPU, until it is done

First the four systems on CIFAR-10-LT, then the baselines there, then what else has data, the
stand-in for CIFAR-100-LT last; one seed of everything before the second of anything. Each stage of
a recipe is a run of tools/train.py of its own, in work_dirs/reproduce/seed{S}/{config}: recipes
that start from one stage wait for it and share it. Records go to docs/results/records as stages
finish. What the end of the time interrupts goes on from its last checkpoint next time. See
docs/reproduce.md.
"""

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import ledger  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.engine.checkpoint import finished_checkpoint  # noqa: E402
from ltcls.engine.configs import find_config  # noqa: E402
from ltcls.engine.prepare import Options  # noqa: E402
from ltcls.engine.recipe import stages  # noqa: E402
from ltcls.evaluation.record import read_record  # noqa: E402

WORK = Path('work_dirs') / 'reproduce'     # below the repository: a record shows its command
IMBALANCES = (100, 200, 50, 20, 10, 1)     # the factor that every paper reports comes first
LAST_WORDS = 60                            # seconds kept to stop the runs and to write the ledger


class Target(NamedTuple):
    """A config that some open row of the ledger names, with a seed."""

    config: str
    seed: int
    data: str           # folder of the data, below the data root
    apart: bool         # its runs and records are in folders named after the data

    @property
    def work_dir(self) -> Path:
        return WORK / f"{f'{self.data}-' if self.apart else ''}seed{self.seed}" / self.config

    @property
    def record(self) -> Path:
        """Where its record is kept, below docs/results/records."""
        return Path('reproduce', *([self.data] if self.apart else [])) / self.file

    @property
    def file(self) -> str:
        return f'{self.config}_seed{self.seed}.json'


class Stage(NamedTuple):
    """One stage of a target's recipe: a run of its own."""

    target: Target      # with the stage's config
    epochs: int

    @property
    def finished(self) -> bool:
        folder = ROOT / self.target.work_dir
        return (finished_checkpoint(folder, self.epochs) is not None
                and (folder / 'evaluation.json').is_file())


# -- what is to be run --------------------------------------------------------------------------

def open_targets(rows: list[dict], data: dict, seeds: list[int], data_root: Path,
                 only: str = '') -> tuple[list[Target], list[str]]:
    """The targets without a record, most valuable first, and what is left out because data lack.

    Args:
        rows: of the ledger, filled from the records that are there.
        data: as from `ledger.read_data`.
        seeds: the wanted seeds, in order.
        data_root: holds one folder a data set, as named in docs/results/data.json; the one of the
            original images, if it is there, goes before the other and opens again the rows that
            copies of the images have answered.
        only: a regular expression to be found in a row's config, method or data set.

    Raises:
        ValueError: no row that `only` fits.
    """
    def wanted(row: dict) -> bool:
        names = row['config'], row['method'], row['dataset']
        return row['config'] and any(re.search(only, name, re.IGNORECASE) for name in names)

    if not any(map(wanted, rows)):
        raise ValueError(f"--only '{only}' fits no config, method or data set of the ledger.")
    done = {(row['config'], row['stand_in'], seed)
            for row in rows if row['ours'] for seed in row['ours']['seeds']}
    ranked, absent = {}, {}
    for place, row in enumerate(rows):
        if not wanted(row):
            continue
        known = data.get(ledger.family(row), {})
        folders = [known[key] for key in ('original', 'folder') if key in known]
        folder = next((name for name in folders if (data_root / name).is_dir()), None)
        if folder is None:
            absent.setdefault(ledger.family(row), set()).add(row['config'])
            continue
        original = folder == known.get('original')
        for turn, seed in enumerate(seeds):
            target = Target(row['config'], seed, folder, row['stand_in'] or original)
            answered = (row['config'], row['stand_in'], seed) in done
            if not answered or original and row['data']:       # by copies of the images alone
                ranked.setdefault(target, (turn, *_value(row), place))
    left_out = [f'{len(names)} configs of {name} are left out: no data in {_shown(data_root)}'
                for name, names in absent.items()]
    return sorted(ranked, key=ranked.get), left_out


def _value(row: dict) -> tuple[int, bool, int]:
    """Smaller is more valuable: data and method, then undoubted numbers, then the factor."""
    if row['stand_in']:
        tier = 3 if row['system'] else 4
    elif ledger.family(row) == 'CIFAR-10-LT':
        tier = 0 if row['system'] else 1
    else:
        tier = 2
    factor = row['imbalance']
    place = IMBALANCES.index(factor) if factor in IMBALANCES else len(IMBALANCES)
    return tier, row['doubtful'], place


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def chain(target: Target) -> list[Stage]:
    """The stages of a target's recipe, the first one first, its own last."""
    found = stages(find_config(target.config), Options(work_dir=target.work_dir, seed=target.seed))
    return [Stage(target._replace(config=path.stem), cfg.train_cfg.max_epochs)
            for path, cfg in found]


# -- running it ---------------------------------------------------------------------------------

class Training:
    """tools/train.py in a process group of its own, its output appended to a file."""

    def __init__(self, command: list[str], log: Path, threads: int):
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ)
        environment.setdefault('OMP_NUM_THREADS', str(threads))
        with log.open('a') as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True)

    def poll(self) -> int | None:
        return self.process.poll()

    def ask(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def stop(self, patience: float = 15) -> None:
        """Ask it to end, and end it if it does not listen."""
        self.ask()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
            return
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Queue:
    """Runs targets: at most `parallel` stages at once, none of them twice at a time.

    Args:
        targets: most valuable first.
        start: begins a stage; returns something with `poll()` (None while it runs, then its exit
            status), `ask()` and `stop()`.
        collect: called with every stage that finishes, and with those that had finished before and
            have no record yet; ValueError or OSError if its record cannot be kept.
        chain: the stages of a target.
        parallel: stages at once.
        seconds: when to stop, counted from `run`; None for when all is done.
        clock, sleep, say: time and speech.
    """

    def __init__(self, targets: list[Target], start: Callable, collect: Callable, chain: Callable,
                 parallel: int = 1, seconds: float | None = None,
                 clock: Callable = time.monotonic, sleep: Callable = time.sleep,
                 say: Callable = print):
        self.waiting, self.start, self.collect = list(targets), start, collect
        self.parallel, self.seconds, self.chain = parallel, seconds, chain
        self.clock, self.sleep, self.say = clock, sleep, say
        self.running: dict[Path, tuple] = {}      # by work_dir: stage, what runs it, since when
        self.failed: set[Path] = set()
        self.collected: set[Path] = set()
        self.interrupted: list[str] = []
        self.chains: dict[Target, list[Stage]] = {}

    def run(self) -> None:
        """Until all is done, or the time is over; after Ctrl-C, too, nothing keeps running."""
        began = self.clock()
        try:
            while True:
                self._reap()
                if self.seconds is not None and self.clock() - began >= self.seconds:
                    return
                while len(self.running) < self.parallel and (stage := self._next()):
                    self.running[stage.target.work_dir] = stage, self.start(stage), self.clock()
                    self.say(f'started  {self._name(stage)}; {len(self.running)} running, '
                             f'{len(self.waiting)} configs to go')
                if not self.running:
                    return
                self.sleep(1)
        finally:
            for _, handle, _ in self.running.values():
                handle.ask()
            for stage, handle, _ in self.running.values():
                handle.stop()
                if not stage.finished:
                    self.interrupted.append(self._name(stage))
                    self.say(f'stopped  {self._name(stage)}; it goes on from its last checkpoint, if any')
            self._reap()

    def _next(self) -> Stage | None:
        """The first stage of the most valuable target that can be started now."""
        for target in list(self.waiting):
            stage = self._open_stage(target)
            if stage is None:
                self.waiting.remove(target)
            elif stage.target.work_dir not in self.running:
                return stage
        return None

    def _open_stage(self, target: Target) -> Stage | None:
        """The first unfinished stage; None if there is none, or if it failed."""
        try:
            if target not in self.chains:
                self.chains[target] = self.chain(target)
        except (ValueError, OSError) as error:
            self.failed.add(target.work_dir)
            self.say(f'failed   {target.config} seed {target.seed}: {error}')
            return None
        for stage in self.chains[target]:
            if stage.finished and not (ledger.RECORDS / stage.target.record).is_file():
                self._collect(stage)
            if stage.target.work_dir in self.failed:
                self.say(f'left out {self._name(self.chains[target][-1])}: '
                         f'{stage.target.config} failed')
                return None
            if not stage.finished:
                return stage
        if target.work_dir not in self.collected:
            self.say(f'left out {self._name(stage)}: it is finished in {target.work_dir}, and its '
                     'record does not fill the row (ledger.py says why); move both away to run '
                     'it anew')
        return None

    def _reap(self) -> None:
        for folder, (stage, handle, since) in list(self.running.items()):
            status = handle.poll()
            if status is None:
                continue
            del self.running[folder]
            took = (self.clock() - since) / 60
            if stage.finished:
                self.say(f'finished {self._name(stage)} in {took:.1f} minutes')
                self._collect(stage)
            elif self._name(stage) not in self.interrupted:
                self.failed.add(folder)
                self.say(f'failed   {self._name(stage)}, exit status {status}: see {folder}.log')

    def _collect(self, stage: Stage) -> None:
        if stage.target.work_dir in self.collected | self.failed:
            return
        try:
            self.collect(stage)
            self.collected.add(stage.target.work_dir)
        except (ValueError, OSError) as error:
            self.failed.add(stage.target.work_dir)
            self.say(f'failed   {self._name(stage)}: no record kept: {error}')

    @staticmethod
    def _name(stage: Stage) -> str:
        where = f' on {stage.target.data}' if stage.target.apart else ''
        return f'{stage.target.config} seed {stage.target.seed}{where}'


def command(target: Target, data_root: Path, precision: str) -> list[str]:
    """The command of a stage; it continues what is there."""
    return [sys.executable, 'tools/train.py', target.config, '--work-dir', str(target.work_dir),
            '--seed', str(target.seed), '--data-root', str(data_root / target.data), '--resume',
            *(['--amp'] if precision == 'bfloat16' else [])]


def keep_record(stage: Stage) -> Path:
    """Copy a finished stage's record, checked, to docs/results/records.

    Raises:
        ValueError: it is no sound record.
    """
    source = ROOT / stage.target.work_dir / 'evaluation.json'
    read_record(source)
    path = ledger.RECORDS / stage.target.record
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix('.tmp')
    shutil.copyfile(source, draft)
    draft.replace(path)
    return path


def pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no regular expression: {error}") from None
    return text


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument('--hours', type=float,
                       help='stop in time for this, e.g. 0.4; otherwise when all is done')
    found.add_argument('--parallel', type=at_least(1), default=1,
                       help='runs at once; a GPU takes about 8')
    found.add_argument('--only', type=pattern, default='', metavar='PATTERN',
                       help='regular expression on config, method or data set')
    found.add_argument('--seeds', type=at_least(0), nargs='+', default=[0, 1, 2])
    found.add_argument('--data-root', type=Path, default=Path('data'),
                       help='folder that holds cifar10/, tiny100/ and the like')
    found.add_argument('--precision', choices=['float32', 'bfloat16'],
                       help='when not given, bfloat16 on a CPU that has it, else float32')
    found.add_argument('--dry-run', action='store_true', help='print the queue and do nothing')
    return found


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return reproduce(options)
    except (ValueError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


def reproduce(options: argparse.Namespace) -> int:
    """Run the queue, or print it; the exit status."""
    began = time.monotonic()
    data = ledger.read_data()
    rows, _ = ledger.fill(ledger.read_ledger(), ledger.read_runs(), data)
    data_root = options.data_root
    targets, left_out = open_targets(rows, data, options.seeds, ROOT / data_root, options.only)
    for line in left_out:
        print(line)
    if options.dry_run:
        for target in targets:
            steps = ' -> '.join(stage.target.config + (' (done)' if stage.finished else '')
                                for stage in chain(target))
            print(f"seed {target.seed}{f' on {target.data}' if target.apart else ''}: {steps}")
        print(f'{len(targets)} to run')
        return 0
    precision = options.precision or default_precision()
    threads = max(1, (os.cpu_count() or 1) // options.parallel)

    def start(stage: Stage) -> Training:
        log = (ROOT / stage.target.work_dir).with_name(f'{stage.target.config}.log')
        return Training(command(stage.target, data_root, precision), log, threads)

    def say(line: str) -> None:
        with contextlib.suppress(OSError):      # the terminal may be gone
            print(f'{(time.monotonic() - began) / 60:7.1f} min  {line}', flush=True)

    seconds = None
    if options.hours is not None:
        seconds = max(0, options.hours * 3600 - LAST_WORDS - (time.monotonic() - began))
    queue = Queue(targets, start, keep_record, chain, options.parallel, seconds, say=say)
    with alone(ROOT / WORK / '.lock'):
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:      # as under nohup
                signal.signal(number, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            queue.run()
    for line in ledger.refresh():
        print(line)
    print(f'{len(queue.collected)} stages finished, {len(queue.failed)} failed, '
          f'{len(queue.interrupted)} interrupted, {len(queue.waiting)} configs to go')
    return int(bool(queue.failed))


def default_precision() -> str:
    import torch

    from ltcls.engine.device import slow_precision
    if torch.cuda.is_available() or slow_precision('bfloat16', 'cpu'):
        return 'float32'
    return 'bfloat16'


@contextlib.contextmanager
def alone(path: Path):
    """Hold a lock file: two queues would train the same stage at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f'error: another queue runs in {path.parent}; wait for it, or end it.')
        yield


if __name__ == '__main__':
    sys.exit(main())
