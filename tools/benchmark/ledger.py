"""The ledger of published and measured numbers: filled from records, printed as a page, checked.

    python tools/benchmark/ledger.py            # fill the ledger, write docs/results.md
    python tools/benchmark/ledger.py --check    # write nothing; fail when any is out of date

A row of docs/results/ledger.json is one published number and the run that answers it. What a paper
says is written there by hand and nowhere else. What was measured (the keys of DERIVED) is worked
out here, from the evaluation records below docs/results/records, and from nothing else. So are the
measured numbers of the method pages, configs/*/README.md.
"""

import argparse
import functools
import json
import statistics
import sys
from pathlib import Path
from typing import Iterable, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import method_pages  # noqa: E402
from ledger_page import page  # noqa: E402
from mmengine.config import Config  # noqa: E402

from ltcls.engine.configs import config_names  # noqa: E402
from ltcls.engine.prepare import Options, first_difference, load_config, plain_config  # noqa: E402
from ltcls.evaluation.record import read_record  # noqa: E402
from ltcls.evaluation.scores import top_accuracies  # noqa: E402
from ltcls.longtail import shot_groups  # noqa: E402

LEDGER = ROOT / 'docs' / 'results' / 'ledger.json'
DATA = ROOT / 'docs' / 'results' / 'data.json'
RECORDS = ROOT / 'docs' / 'results' / 'records'
PAGE = ROOT / 'docs' / 'results.md'

PUBLISHED = ('method', 'system', 'dataset', 'imbalance', 'backbone', 'metric', 'group_rule',
             'recipe', 'published', 'original', 'published_source', 'quoted', 'doubtful', 'note',
             'stand_in', 'beside', 'obstacle', 'tried')
DERIVED = ('config', 'planned', 'ours', 'records', 'status', 'cost', 'hardware', 'data')
METRICS = ('accuracy', 'many', 'medium', 'few', 'top3', 'top5', 'open-set F')
SYSTEMS = ('gcl', 'cc_sam', 'gnm', 'meta_reweight', None)
STATUS = ('reproduced', 'not reproduced', 'not run', 'cannot run here', 'measured')
TOLERANCE = 0.5      # points below the published number that still count as reproduced
# Where a run was made and how fast, not what was trained.
NOT_THE_RESULT = {
    'root', 'download', 'skip_bad_images', 'collate_fn', 'worker_init_fn', 'num_workers',
    'persistent_workers', 'pin_memory', 'prefetch_factor', 'device', 'on_device', 'precision',
    'channels_last', 'fused', 'foreach', 'compile', 'cuda_graph', 'cuda_graphs', 'default_hooks',
    'val_dataloader', 'val_evaluator', 'val_cfg', 'val_interval', 'test_cfg', 'test_evaluator',
    'default_scope', 'model_wrapper_cfg', 'env_cfg', 'randomness', 'auto_scale_lr'}


class Run(NamedTuple):
    """A record and its path below the repository, with forward slashes."""

    path: str
    record: dict


def read_ledger(path: Path = LEDGER) -> list[dict]:
    """The rows, each with every key.

    Raises:
        ValueError: not a list of rows, a missing key or one that no row has, a value out of place.
    """
    rows = json.loads(Path(path).read_text(encoding='utf-8'))
    if not isinstance(rows, list):
        raise ValueError(f'{path} must hold a list of rows.')
    for number, row in enumerate(rows, start=1):
        wrong = set(row) ^ {*PUBLISHED, *DERIVED}
        faults = [
            wrong and f"the key '{sorted(wrong)[0]}' is missing or unknown",
            row.get('metric') not in METRICS and f"metric is none of {', '.join(METRICS)}",
            row.get('system') not in SYSTEMS and f"system '{row['system']}' is none of the four",
            not (row.get('config') or row.get('planned')) and "neither 'config' nor 'planned'",
        ]
        if any(faults):
            raise ValueError(f"{path}, row {number} ({row.get('method')}, {row.get('dataset')}): "
                             f'{next(filter(None, faults))}.')
    return rows


def to_text(rows: list[dict]) -> str:
    """The ledger as JSON, one row a line: a change shows as the rows it changes."""
    lines = [json.dumps({key: row[key] for key in (*PUBLISHED, *DERIVED)}, ensure_ascii=False)
             for row in rows]
    return '[\n' + ',\n'.join(lines) + '\n]\n'


def read_runs(folder: Path = RECORDS) -> list[Run]:
    """Every record below a folder, checked to recombine; ValueError names the first that fails."""
    base = ROOT if ROOT in Path(folder).resolve().parents else Path(folder)
    return [Run(path.resolve().relative_to(base.resolve()).as_posix(), read_record(path))
            for path in sorted(Path(folder).rglob('*.json'))]


def read_data(path: Path = DATA) -> dict:
    """Per data set: its folders, its class names and, by test fingerprint, which copy of it images
    are; None for the original ones."""
    return json.loads(path.read_text(encoding='utf-8'))


# -- which run answers which row ---------------------------------------------------------------

def family(row: dict) -> str:
    """'CIFAR-10-LT IF100' -> 'CIFAR-10-LT'."""
    return row['dataset'].split(' IF')[0]


def wrong_data(row: dict, record: dict, data: dict) -> str | None:
    """Why a record is not of the row's data: the class names tell CIFAR-100 from its stand-in."""
    expected = data.get(family(row), {}).get('classes')
    found = [entry['name'] for entry in record['per_class']]
    if expected and found != expected:
        return f"its classes ({found[0]}, ...) are not those of {family(row)}"
    return None


@functools.cache
def shipped_config(path: Path) -> Config:
    """A config, read once; nobody may change it."""
    return load_config(path, Options())


def departure(record: dict, configs: dict[str, Path]) -> str | None:
    """What in a record's config is not what the config of its name says; None if nothing is.

    A run with other options (a shorter schedule, another factor) is another experiment.
    """
    if not record.get('config'):
        return 'it stores no config'
    if record.get('selected_on_test'):
        return 'its weights were selected on the test set'
    cfg = shipped_config(configs[record['name']])
    if record.get('epoch') != cfg.train_cfg.max_epochs:
        return f"it was tested after {record.get('epoch')} of {cfg.train_cfg.max_epochs} epochs"
    difference = first_difference(_essence(record['config']), _essence(plain_config(cfg)))
    return difference and f'its config differs in {difference}'


def _essence(node):
    """A config without what does not make the result."""
    if isinstance(node, dict):
        kept = {key: _essence(value) for key, value in node.items() if key not in NOT_THE_RESULT}
        if 'test_dataloader' in kept:
            kept['test_dataloader'] = kept['test_dataloader'].get('dataset')
        return kept
    return [_essence(item) for item in node] if isinstance(node, list) else node


def measured(row: dict, record: dict) -> float | None:
    """The row's number in a record, in percent; None where the record does not hold it."""
    metric = row['metric']
    if metric == 'accuracy':
        return record['overall']['accuracy']
    if metric in ('top3', 'top5'):
        return top_accuracies(record['overall']).get(int(metric[3:]))
    if metric == 'open-set F':
        found = record.get('open_set')
        return 100 * found['f']['paper']['f'] if found else None
    classes = record['per_class']
    members = shot_groups([entry['train_count'] for entry in classes], row['group_rule'])[metric]
    values = [classes[c]['accuracy'] for c in members if classes[c]['accuracy'] is not None]
    return statistics.fmean(values) if values else None


# -- filling ------------------------------------------------------------------------------------

def fill(rows: Iterable[dict], runs: list[Run], data: dict,
         configs: dict[str, Path] | None = None) -> tuple[list[dict], list[str]]:
    """The rows with their derived part worked out anew, and remarks for whoever runs this.

    Where a config has records of the original images, those of copies do not count. Of several
    records of one config, data and seed the latest counts.
    """
    configs = config_names() if configs is None else configs
    rows = list(rows)
    wanted = {row['config'] or row['planned'] for row in rows}
    stages = {earlier_stage(run.record) for run in runs}
    remarks, sound = [], []
    for run in runs:
        if run.record['name'] in configs and run.record['name'] in wanted | stages:
            reason = departure(run.record, configs) or _of_no_row(rows, run.record, data)
            if not reason:
                sound.append(run)
            elif run.record['name'] in wanted:
                remarks.append(f'{run.path} fills nothing: {reason}')
    filled = [_fill_row(row, sound, data, configs) for row in rows]
    for row in filled:
        if row['status'] == 'not reproduced' and not row['tried']:
            gap = row['published'] - row['ours']['mean']
            if gap > 1:
                remarks.append(f"{row['method']}, {row['dataset']}, {row['metric']} is {gap:.2f} "
                               "short: write what was tried into the row's 'tried'")
    return filled, remarks


def _of_no_row(rows: list[dict], record: dict, data: dict) -> str | None:
    """Why a record is of the data of none of the rows of its config."""
    reasons = [wrong_data(row, record, data) for row in rows
               if (row['config'] or row['planned']) == record['name']]
    return reasons[0] if reasons and all(reasons) else None


def _fill_row(row: dict, runs: list[Run], data: dict, configs: dict[str, Path]) -> dict:
    name = row['config'] or row['planned']
    exists = name in configs
    fitting = [run for run in runs
               if exists and run.record['name'] == name and not wrong_data(row, run.record, data)
               and measured(row, run.record) is not None]
    original = [run for run in fitting if data_note(row, run.record, data) is None]
    latest = {}
    for run in original or fitting:
        record = run.record
        held = latest.get(record['seed'])
        if held is None or (record['date'], run.path) > (held.record['date'], held.path):
            latest[record['seed']] = run
    used = [latest[seed] for seed in sorted(latest)]
    values = [measured(row, run.record) for run in used]
    paths = [run.path for run in used]
    ours = None
    if used:
        ours = dict(mean=round(statistics.fmean(values), 3),
                    std=round(statistics.stdev(values), 3) if len(values) > 1 else None,
                    seeds=[run.record['seed'] for run in used],
                    values=[round(value, 3) for value in values],
                    records=paths)
    return dict(
        {key: row[key] for key in PUBLISHED},
        config=name if exists else None,
        planned=None if exists else name,
        ours=ours,
        records=paths,
        status=status_of(row, ours),
        cost=round(statistics.fmean(minutes(run, runs) for run in used), 1) if used else None,
        hardware=_joined(hardware(run.record) for run in used),
        data=_joined(data_note(row, run.record, data) for run in used))


def status_of(row: dict, ours: dict | None) -> str:
    """One of STATUS: within TOLERANCE of the published number, or better, is reproduced."""
    if ours is None:
        return 'cannot run here' if row['obstacle'] else 'not run'
    if row['published'] is None:
        return 'measured'
    within = ours['mean'] - row['published'] >= -TOLERANCE - 1e-9
    return 'reproduced' if within else 'not reproduced'


def minutes(run: Run, runs: list[Run]) -> float:
    """Training time of a run and of the stages it started from, as far as they have records.

    A stage that was trained anew after the run is not the one it started from.
    """
    record = run.record
    total = (record.get('training_time') or record.get('wall_time') or 0) / 60
    stages = [other for other in runs
              if other.record['name'] == earlier_stage(record)
              and other.record['seed'] == record['seed']
              and other.record['date'] <= record['date']
              and other.record['fingerprints'] == record['fingerprints']]
    return total + (minutes(max(stages, key=lambda r: r.record['date']), runs) if stages else 0)


def earlier_stage(record: dict) -> str | None:
    """The name of the config that a run started from."""
    earlier = ((record.get('config') or {}).get('init_from') or {}).get('config')
    return earlier and Path(earlier).name.removesuffix('.py')


def hardware(record: dict) -> str:
    """'NVIDIA H200, float32' or 'AMD EPYC, 2 threads, bfloat16'."""
    machine = record['hardware']
    where = machine.get('gpu') or f"{machine.get('cpu')}, {machine.get('threads')} threads"
    return f"{where}, {record.get('precision', 'float32')}"


def data_note(row: dict, record: dict, data: dict) -> str | None:
    """What is known of the images where they are not known to be the original ones."""
    if family(row) not in data:
        return None
    found = (record.get('fingerprints') or {}).get('test') or 'unknown'
    return data[family(row)]['known'].get(found, f'images of fingerprint {found[:12]}')


def _joined(texts: Iterable[str | None]) -> str | None:
    return '; '.join(sorted({text for text in texts if text})) or None


# -- checking -----------------------------------------------------------------------------------

def faults(rows: list[dict], runs: list[Run], data: dict,
           configs: dict[str, Path] | None = None) -> list[str]:
    """What is wrong with a ledger, one sentence each: a number that no record gives, a config that
    does not exist, a row that `fill` would write otherwise."""
    configs = config_names() if configs is None else configs
    found, there = [], {run.path for run in runs}
    for row, right in zip(rows, fill(rows, runs, data, configs)[0]):
        where = f"{row['method']}, {row['dataset']}, {row['metric']}"
        lost = [path for path in row['records'] if path not in there]
        if row['ours'] and not row['records']:
            found.append(f'{where}: a number without a record')
        elif lost:
            found.append(f'{where}: there is no record {lost[0]}')
        elif row['ours'] and not right['ours']:
            found.append(f"{where}: its records do not give its number")
        elif row['config'] and row['config'] not in configs:
            found.append(f"{where}: there is no config {row['config']}")
        elif row != right:
            key = next(key for key in DERIVED if row[key] != right[key])
            found.append(f'{where}: {key} is {row[key]!r}, the records give {right[key]!r}')
    return found


def refresh() -> list[str]:
    """Fill the ledger from the records and write the page; returns the remarks."""
    runs = read_runs()
    rows, remarks = fill(read_ledger(), runs, read_data())
    LEDGER.write_text(to_text(rows), encoding='utf-8')
    PAGE.write_text(page(rows), encoding='utf-8')
    for path, text in filled_pages(runs).items():
        path.write_text(text, encoding='utf-8')
    return remarks


def filled_pages(runs: list[Run]) -> dict[Path, str]:
    """The method pages with their measured numbers, from runs of unchanged configs."""
    configs = config_names()
    used = [run for run in runs if run.record['name'] in configs
            and departure(run.record, configs) is None]
    copies = [fingerprint for known in read_data().values() if 'original' in known
              for fingerprint, note in known['known'].items() if note]
    return {path: method_pages.filled(path.read_text(encoding='utf-8'), used, configs,
                                      '../../docs', copies)
            for path in sorted((ROOT / 'configs').glob('*/README.md'))}


def check() -> list[str]:
    """What is out of date in the committed ledger and page, or contradicts the records."""
    rows = read_ledger()
    runs = read_runs()
    found = faults(rows, runs, read_data())
    found += [f'{path.relative_to(ROOT)} is out of date'
              for path, text in filled_pages(runs).items()
              if path.read_text(encoding='utf-8') != text]
    if not PAGE.is_file() or PAGE.read_text(encoding='utf-8') != page(rows):
        found.append(f'{PAGE.relative_to(ROOT)} is out of date')
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true',
                        help='write nothing; fail when ledger or page is out of date')
    options = parser.parse_args(arguments)
    try:
        if options.check:
            found = check()
            for line in found:
                print(line)
            if found:
                print('Run python tools/benchmark/ledger.py and look at what it changes.')
            return int(bool(found))
        for line in refresh():
            print(line)
    except (ValueError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    rows = read_ledger()
    print(', '.join(f'{count} {status}' for status in STATUS
                    if (count := sum(row['status'] == status for row in rows))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
