"""Kill two-stage runs at random moments, resume them, compare them with an undisturbed one.

    python tools/benchmark/chaos.py                     # 20 kills each, one process and two
    python tools/benchmark/chaos.py --kills 2 --processes 1

The recipe is GCL with mixup on the digits, then its classifier again on CBEN samples, three epochs
each, with a worker process that draws crops, deferred re-weighting, schedules, a best checkpoint
and a validation every epoch. Every kill is a SIGKILL to all processes of a run at a moment drawn
uniformly from the time that the undisturbed run took; then the run is resumed with `--resume`. It
must end with the weights, optimizer states, schedules, logs, best checkpoints and evaluations of
the undisturbed run, bit for bit. The results go to docs/results/chaos.json and chaos.md.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The tests' way of starting `ltcls` in processes without importing everything each time.
sys.path[:0] = [str(ROOT), str(ROOT / 'tests' / 'engine')]
os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])

import torch  # noqa: E402
from processes import finish, start  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.evaluation.record import describe_hardware, package_versions  # noqa: E402

RESULTS = ROOT / 'docs' / 'results'
STAGES = ('gcl_resnet8_digits', 'gcl-crt_resnet8_digits')
EPOCHS = 3
AFTER = 'after the end'
FIRST = f'''
_base_ = 'ltcls::gcl/gcl_resnet20_digits.py'
model = dict(backbone=dict(depth=8))
data_preprocessor = dict(augment=[], mixing=dict(type='Mixup', alpha=1.0))
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=[
    dict(type='RandomCrop', size=8, padding=1)]))
param_scheduler = [dict(type='LinearLR', start_factor=0.2, end=1),
                   dict(type='CosineAnnealingLR', begin=1, T_max=2)]
default_hooks = dict(checkpoint=dict(interval=1, save_best='accuracy'))
custom_hooks = [dict(type='DeferredReweightHook', begin=2)]
train_cfg = dict(max_epochs={EPOCHS}, val_interval=1)
'''
SECOND = '''
_base_ = './gcl_resnet8_digits.py'
init_from = dict(config='gcl_resnet8_digits.py', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], loss=dict(margin=0.1, focal_gamma=1.0))
train_dataloader = dict(sampler=dict(type='CBENSampler', beta=(0.9999, 0.99991)))
'''


def launch(folder: Path, processes: int, resume: bool) -> list:
    """Start the run, in one process or as ranks that meet over gloo."""
    arguments = ['train', str(folder / f'{STAGES[1]}.py'), '--work-dir', str(folder / STAGES[1]),
                 *(['--resume'] if resume else [])]
    if processes == 1:
        return [start(arguments, folder / 'out.txt')]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    return [start([*arguments, '--launcher', 'pytorch'], folder / f'out.{rank}', RANK=str(rank),
                  LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1',
                  MASTER_PORT=port) for rank in range(processes)]


def complete(folder: Path, processes: int, resume: bool = False) -> float:
    """Run to the end; the seconds it took."""
    started = time.time()
    statuses = [finish(process) for process in launch(folder, processes, resume)]
    if any(statuses):
        said = '\n'.join(path.read_text()[-2000:] for path in sorted(folder.glob('out.*')))
        raise RuntimeError(f'a run ended with {statuses}:\n{said}')
    return time.time() - started


def kill_after(folder: Path, processes: int, seconds: float) -> str:
    """Start a run, kill all of it after a while; where it was."""
    group = launch(folder, processes, resume=False)
    deadline = time.time() + seconds
    while time.time() < deadline and all(process.is_alive() for process in group):
        time.sleep(0.002)
    alive = any(process.is_alive() for process in group)
    for process in group:
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
    for process in group:
        finish(process)
    return where(folder) if alive else AFTER


def where(folder: Path) -> str:
    """The stage that was under way, and the epochs of it that the log has."""
    for number, stage in reversed(list(enumerate(STAGES, 1))):
        if (folder / stage / 'config.json').is_file():
            log = folder / stage / 'log.jsonl'
            epochs = len(log.read_text().splitlines()) if log.is_file() else 0
            if (folder / stage / 'evaluation.json').is_file():
                return f'stage {number}, after its test'
            return f'stage {number}, {epochs} of {EPOCHS} epochs logged'
    return 'before the first stage'


def difference(folder: Path, reference: Path) -> str | None:
    """The first thing in which two finished runs differ, or None."""
    for stage in STAGES:
        ours, theirs = folder / stage, reference / stage
        best = sorted(path.name for path in theirs.glob('best_*.pth'))
        if sorted(path.name for path in ours.glob('best_*.pth')) != best:
            return f'{stage}: which checkpoint is the best'
        for name in (f'epoch_{EPOCHS}.pth', *best):
            one, other = torch.load(ours / name), torch.load(theirs / name)
            for key in ('state_dict', 'optimizer', 'param_schedulers'):
                if not same(one.get(key), other.get(key)):
                    return f'{stage}: {key} of {name}'
        logs = [[{k: entry[k] for k in ('epoch', 'loss', 'lr', 'val')} for entry in map(
            json.loads, (path / 'log.jsonl').read_text().splitlines())] for path in (ours, theirs)]
        if logs[0] != logs[1]:
            return f'{stage}: log.jsonl'
        records = [json.loads((path / 'evaluation.json').read_text()) for path in (ours, theirs)]
        for key in ('overall', 'per_class', 'confusion', 'calibration', 'best', 'epoch', 'seed'):
            if records[0][key] != records[1][key]:
                return f'{stage}: {key} in evaluation.json'
    return None


def same(one, other) -> bool:
    """Whether two states are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def prepare(folder: Path) -> Path:
    folder.mkdir()
    for stage, text in zip(STAGES, (FIRST, SECOND)):
        (folder / f'{stage}.py').write_text(text)
    return folder


def trial(home: Path, processes: int, seconds: float, reference: Path, name: str) -> dict | None:
    """One kill, one resume, one comparison; None if the run ended before its moment came."""
    folder = prepare(home / name)
    moment = kill_after(folder, processes, seconds)
    if moment == AFTER:
        shutil.rmtree(folder)
        return None
    took = complete(folder, processes, resume=True)
    found = difference(folder, reference)
    shutil.rmtree(folder)
    return dict(processes=processes, seconds=round(seconds, 3), killed=moment,
                resumed_in=round(took, 2), difference=found)


def page(content: dict) -> str:
    """The table of chaos.md."""
    lines = ['# Killed runs', '', f"`python tools/benchmark/chaos.py`, seed {content['seed']}: a "
             'two-stage run on the digits is killed',
             'with SIGKILL at a random moment and resumed. Equal: weights, optimizer, schedules,',
             'log, best checkpoint and evaluation are bit for bit those of an undisturbed run.', '',
             '| processes | killed after | where | equal |', '|---|---|---|---|']
    for row in content['trials']:
        equal = 'yes' if row['difference'] is None else f"no: {row['difference']}"
        lines.append(f"| {row['processes']} | {row['seconds']:.2f} s | {row['killed']} | {equal} |")
    for processes, seconds in content['undisturbed'].items():
        rows = [row for row in content['trials'] if row['processes'] == int(processes)]
        equal = sum(row['difference'] is None for row in rows)
        lines += ['', f'{processes} process{"es" if processes != "1" else ""}: {equal} of '
                  f'{len(rows)} equal; the undisturbed run took {seconds:.1f} s.']
    machine = ', '.join(f'{key} {value}' for key, value in content['hardware'].items()
                        if value is not None)
    return '\n'.join([*lines, '', f'Hardware: {machine}.']) + '\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=at_least(1), default=20,
                        help='for each number of processes')
    parser.add_argument('--processes', type=at_least(1), nargs='+', default=[1, 2])
    parser.add_argument('--seed', type=at_least(0), default=0, help='of the moments')
    parser.add_argument('--output', type=Path, default=RESULTS)
    options = parser.parse_args()
    content = dict(seed=options.seed, hardware=describe_hardware(), versions=package_versions(),
                   undisturbed={}, trials=[])
    with tempfile.TemporaryDirectory(prefix='ltcls-chaos-') as name:
        home, draw = Path(name), random.Random(options.seed)
        for processes in options.processes:
            reference = prepare(home / f'reference{processes}')
            complete(prepare(home / f'warm{processes}'), processes)
            length = complete(reference, processes)
            content['undisturbed'][str(processes)] = round(length, 2)
            for number in range(options.kills):
                row = None
                while row is None:
                    row = trial(home, processes, draw.uniform(0, length), reference,
                                f'trial{processes}-{number}')
                content['trials'].append(row)
                print(f"{processes} processes, kill {number + 1} after {row['seconds']:.2f} s "
                      f"({row['killed']}): {row['difference'] or 'equal'}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / 'chaos.json').write_text(json.dumps(content, indent=1) + '\n')
    (options.output / 'chaos.md').write_text(page(content))
    return int(any(row['difference'] for row in content['trials']))


if __name__ == '__main__':
    sys.exit(main())
