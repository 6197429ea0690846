"""Tables of docs/results from the records of runs.

    python tools/benchmark/study.py cifar10-short --collect work_dirs/seed0 work_dirs/seed1
    python tools/benchmark/study.py cifar10-short

The first form copies the evaluation records of the study's configs out of those folders into
docs/results/records/STUDY; both write the page docs/results/STUDY.md from what is there. A row
without a record stays empty.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ltcls.evaluation.record import read_record  # noqa: E402

RESULTS = ROOT / 'docs' / 'results'
# config, what it is called, the number it is set beside
STUDIES = {
    'cifar10-short': dict(
        title='CIFAR-10-LT, factor 100, ResNet-32, 30 epochs',
        about='A schedule that a CPU finishes: 30 epochs of batches of 128, five of warm-up and '
              'then cosine, bfloat16 with channels-last memory; the second stages add 10 epochs. '
              'Images: all of CIFAR-10, encoded anew as JPEG, so that pixels differ slightly from '
              'the original release. The result is that of the last epoch.',
        beside='a compact reference loop, one seed',
        rows=[
            ('ce_resnet32_cifar10-short', 'CE', 61.7),
            ('la-posthoc_resnet32_cifar10-short', 'CE + post-hoc logit adjustment', 70.3),
            ('crt_resnet32_cifar10-short', 'CE + cRT', 69.7),
            ('ldam-drw_resnet32_cifar10-short', 'LDAM-DRW', 71.0),
            ('gcl_resnet32_cifar10-short', 'GCL, stage 1', 67.7),
            ('gcl-crt_resnet32_cifar10-short', 'GCL + CBEN', 71.4),
        ]),
    'cifar10-200e': dict(
        title='CIFAR-10-LT, factor 100, ResNet-32, the published 200 epochs',
        about='The published schedule: 200 epochs of batches of 64, steps at 160 and 180; GCL with '
              'mixup, and 30 epochs of classifier re-training on effective-number samples. '
              'Run in bfloat16 with channels-last memory (`--amp`) on all of CIFAR-10, encoded '
              'anew as JPEG, so that pixels differ slightly from the original release. The result '
              'is that of the last epoch.',
        beside='published (Li et al., CVPR 2022, Table 1)',
        rows=[
            ('ce_resnet32_cifar10', 'CE', 70.70),
            ('gcl_resnet32_cifar10', 'GCL, stage 1', None),
            ('gcl-crt_resnet32_cifar10', 'GCL + CBEN/cRT', 82.68),
        ]),
}


def collect(study: str, folders: list[Path]) -> None:
    """Copy the records of the study's configs, one file a config and seed."""
    target = RESULTS / 'records' / study
    target.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        for config, _, _ in STUDIES[study]['rows']:
            source = folder / config / 'evaluation.json'
            if source.is_file():
                record = read_record(source)
                path = target / f"{config}_seed{record['seed']}.json"
                path.write_text(source.read_text())
                print(f'{source} -> {path.relative_to(ROOT)}')


def records_of(study: str, config: str) -> list[dict]:
    """The study's records of a config, by seed."""
    paths = sorted((RESULTS / 'records' / study).glob(f'{config}_seed*.json'))
    return sorted((read_record(path) for path in paths), key=lambda record: record['seed'])


def spread(values: list[float | None]) -> str:
    """'71.4', or mean and half the range of several: '71.4 ± 0.3'; empty without values."""
    values = [value for value in values if value is not None]
    if not values:
        return ''
    if len(values) == 1:
        return f'{values[0]:.2f}'
    return f'{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}'


def page(study: str) -> str:
    """The page as Markdown."""
    spec = STUDIES[study]
    head = ['method', 'config', 'overall', 'each seed', spec['beside'], 'many', 'medium', 'few',
            'two rarest', 'ECE', 'best epoch', 'training, min']
    lines = [f"# {spec['title']}", '', spec['about'], '',
             'Accuracy in percent on the balanced test set; ± is the standard deviation over the '
             'seeds. Many, medium and few: classes of more than 100, 20 to 100 and fewer than 20 '
             'training images, a group without classes stays empty. The best epoch on the test '
             'set stands beside the result and is not it.', '',
             f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    commands, hardware, used = [], set(), set()
    for config, label, beside in spec['rows']:
        records = records_of(study, config)

        def group(name):
            return spread([r['groups'].get(name, {}).get('accuracy') for r in records])

        lines.append('| ' + ' | '.join([
            label, f'`{config}`', spread([r['overall']['accuracy'] for r in records]),
            ', '.join(f"{r['overall']['accuracy']:.2f}" for r in records),
            '' if beside is None else f'{beside:.2f}',
            group('many'), group('medium'), group('few'),
            spread([r['rarest']['accuracy'] for r in records]),
            spread([r['calibration']['overall']['ece'] for r in records]),
            ', '.join(f"{r['best']['accuracy']:.2f} at {r['best']['epoch']}" for r in records
                      if r['best']),
            ', '.join(f"{r['training_time'] / 60:.0f}" for r in records)]) + ' |')
        for record in records:
            commands.append(record['command'])
            machine = record['hardware']
            hardware.add(json.dumps(machine, sort_keys=True))
            used.add(', '.join(f'{k} {v}' for k, v in sorted(record['versions'].items())))
    lines += ['', '## How', '', 'Commands (a recipe trains the stage it starts from first):', '',
              '```sh', *sorted(set(commands)), '```', '', 'Hardware: '
              + '; '.join(sorted(_machine(json.loads(text)) for text in hardware)) + '.', '',
              'Versions: ' + '; '.join(sorted(used)) + '.', '',
              f'Records: `docs/results/records/{study}/`. This page: '
              f'`python tools/benchmark/study.py {study}`.', '']
    return '\n'.join(lines)


def _machine(hardware: dict) -> str:
    return ', '.join(f'{key} {value}' for key, value in hardware.items() if value is not None)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('study', choices=sorted(STUDIES))
    arguments.add_argument('--collect', nargs='+', type=Path, default=[], metavar='FOLDER',
                           help='folders that hold the runs, one below each config name')
    options = arguments.parse_args()
    collect(options.study, options.collect)
    target = RESULTS / f'{options.study}.md'
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(options.study))
    print(f'written to {target.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
