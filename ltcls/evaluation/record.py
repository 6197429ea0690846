"""evaluation.json: the one record of a run, from which every table and picture is made."""

import datetime
import json
import math
import os
import platform
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ltcls.evaluation.scores import GROUPS, mean_accuracy

FORMAT = 1
MEASURED = ('overall', 'group_rule', 'groups', 'balanced_accuracy', 'rarest', 'calibration',
            'per_class', 'confusion')
MEASURED_TOO = ('open_set',)      # where the metric measures them
PACKAGES = ('ltcls', 'torch', 'torchvision', 'timm', 'mmengine', 'numpy', 'scikit-learn')


def build_record(scores: dict, *, name: str, config: dict | None = None, seed: int | None = None,
                 fingerprints: dict | None = None, epoch: int | None = None,
                 best: dict | None = None, selected_on_test: bool = False,
                 command: str | None = None, wall_time: float | None = None,
                 date: str | None = None, versions: dict | None = None,
                 hardware: dict | None = None, **more: Any) -> dict:
    """A run's record: who, when and how around the measured scores. JSON can hold all of it.

    Args:
        scores: the measured part, `ShotAccuracy.record`.
        name: the config's name without folder and suffix, '{method}_{backbone}_{dataset}'.
        config: the config as a dict; what JSON cannot hold is kept as its text.
        seed: the run's seed.
        fingerprints: of the data, e.g. dict(train=..., test=...).
        epoch: finished epochs of the weights that were tested.
        best: the best epoch on the test set beside it, dict(epoch=..., accuracy=...), or None.
        selected_on_test: whether the tested weights, or those they started from, were chosen by
            their test accuracy.
        command: how the run was started; this process's command line when None.
        wall_time: seconds of training.
        date: ISO 8601; now when None.
        versions: as from `package_versions`, which is called when None.
        hardware: as from `describe_hardware`, which is called when None.
        more: further fields, kept as they are.
    """
    about = dict(
        format=FORMAT,
        name=name,
        method=name.rsplit('_', 2)[0],
        seed=seed,
        epoch=epoch,
        best=best,
        selected_on_test=bool(selected_on_test),
        command=shlex.join(sys.argv) if command is None else command,
        date=date or datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        wall_time=wall_time,
        fingerprints=fingerprints or {},
        versions=package_versions() if versions is None else versions,
        hardware=describe_hardware() if hardware is None else hardware,
        **more)
    measured = {key: scores[key] for key in MEASURED}
    measured.update({key: scores[key] for key in MEASURED_TOO if key in scores})
    return _plain(dict(about, **measured, config=config or {}))


def write_record(path: str | Path, record: dict) -> Path:
    """Write a record; a reader sees the old file or the new one, never half of one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        draft.write_text(_to_text(_plain(record)), encoding='utf-8')
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def read_record(path: str | Path) -> dict:
    """A record from disk, checked.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a record, an incomplete one, or one whose parts contradict each other.
    """
    path = Path(path)
    here = f'with --work-dir {path.parent}'      # `ltcls test` would write to a folder of its own
    if not path.is_file():
        raise FileNotFoundError(f'No record at {path}: finish the run, or test its checkpoint '
                                f'{here}.')
    again = f'test the checkpoint again {here}.'
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is not a JSON file ({error}); {again}') from None
    if not isinstance(record, dict) or record.get('format') != FORMAT:
        raise ValueError(f'{path} is not a record of format {FORMAT}; {again}')
    missing = [key for key in ('name', *MEASURED) if key not in record]
    if missing:
        raise ValueError(f'{path} lacks {", ".join(missing)}; {again}')
    try:
        faults = contradictions(record)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f'{path} is damaged ({type(error).__name__}: {error}); {again}') from None
    if faults:
        raise ValueError(f'{path} contradicts itself: {faults[0]}; {again}')
    return record


def contradictions(record: dict) -> list[str]:
    """What does not add up in a record, one sentence each; accuracies may differ by 1e-6."""
    rows, overall = record['per_class'], record['overall']
    faults = []

    def expect(what: str, found: float | None, expected: float | None) -> None:
        if found is None or expected is None:
            agree = found is expected
        else:
            agree = abs(found - expected) <= 1e-6
        if not agree:
            faults.append(f'{what} is {found}, its parts give {expected}')

    for row in rows:
        expect(f"the accuracy of class {row['name']}", row['accuracy'],
               100 * row['correct'] / row['total'] if row['total'] else None)
    for name in GROUPS:
        members = [row for row in rows if row['group'] == name]
        group = record['groups'].get(name)
        expect(f'the number of {name} classes', group['classes'] if group else 0, len(members))
        if group:
            for key, part in dict(images='total', correct='correct').items():
                expect(f"'{key}' of group {name}", group[key], sum(row[part] for row in members))
            expect(f'the accuracy of group {name}', group['accuracy'], mean_accuracy(members))
    expect('the balanced accuracy', record['balanced_accuracy'], mean_accuracy(rows))
    for key in ('images', 'correct'):
        expect(f"overall '{key}'", overall[key], sum(g[key] for g in record['groups'].values()))
    if overall['images']:
        expect('the overall accuracy', overall['accuracy'],
               100 * overall['correct'] / overall['images'])
    if record['confusion'] is not None:
        expect('the number of confusion rows', len(record['confusion']), len(rows))
        for row, counts in zip(rows, record['confusion']):
            expect(f"the confusion row of class {row['name']}", sum(counts), row['total'])
            expect(f"the confusion diagonal of class {row['name']}", counts[row['index']],
                   row['correct'])
    return faults


def read_log(path: str | Path) -> list[dict]:
    """The training log log.jsonl, one dict an epoch, by epoch.

    An epoch that was run again after a resume counts once, as it was run last. A last line without
    its end, left by a killed run, is not an epoch.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is no JSON object with an `epoch`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'No training log at {path}: give the work directory of a run.')
    lines = path.read_text(encoding='utf-8').split('\n')
    epochs = {}
    for number, line in enumerate(lines[:-1], start=1):
        try:
            entry = json.loads(line)
            epochs[entry['epoch']] = entry
        except (ValueError, KeyError, TypeError):
            raise ValueError(f'{path}, line {number}: not a JSON object with an epoch; remove the '
                             'line.') from None
    return [epochs[epoch] for epoch in sorted(epochs)]


def training_log(work_dir: str | Path) -> list[dict]:
    """`read_log` of the run in a folder; empty if nothing was trained there."""
    path = Path(work_dir) / 'log.jsonl'
    return read_log(path) if path.is_file() else []


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages a result depends on."""
    found = dict(python=platform.python_version())
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            # ltcls may run from a clone; the others are optional or absent.
            version = getattr(sys.modules.get(package), '__version__', None)
            if version:
                found[package] = version
    return found


def describe_hardware() -> dict[str, Any]:
    """Processor, its widest instructions as torch calls them, threads in use, and GPU if any."""
    cpuinfo = Path('/proc/cpuinfo')
    text = cpuinfo.read_text(errors='replace') if cpuinfo.is_file() else ''
    named = re.search('^model name.*?:(.*)', text, re.MULTILINE)
    found = dict(system=platform.system(),
                 cpu=named[1].strip() if named else platform.processor() or platform.machine(),
                 instructions=torch.backends.cpu.get_cpu_capability(), cores=os.cpu_count(),
                 threads=torch.get_num_threads())
    if torch.cuda.is_available():
        found['gpu'] = torch.cuda.get_device_name()
        found['gpus'] = torch.cuda.device_count()
    return found


def forget_peak_memory() -> None:
    """Let `peak_memory` begin here, on GPUs and on Linux."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        pass


def peak_memory() -> int | None:
    """Bytes in use at most: of the GPU if there is one, else of this process, if it knows."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path('/proc/self/status')
    found = re.search(r'VmHWM:\s+(\d+) kB', status.read_text()) if status.is_file() else None
    if found:
        return 1024 * int(found[1])
    try:
        import resource
    except ImportError:      # not on Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == 'darwin' else 1024 * most


def _plain(value: Any) -> Any:
    """The value in JSON's own types: a long run must not end in an error about a field's type."""
    if hasattr(value, 'tolist'):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _to_text(record: dict) -> str:
    """JSON with one line a field, and one line an item of a list: rows of a table stay rows."""
    fields = []
    for key, value in record.items():
        text = json.dumps(value, allow_nan=False)
        if isinstance(value, list) and value:
            items = ',\n  '.join(json.dumps(item, allow_nan=False) for item in value)
            text = f'[\n  {items}]'
        fields.append(f'{json.dumps(key)}: {text}')
    return '{\n' + ',\n'.join(fields) + '\n}\n'
