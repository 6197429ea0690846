"""The ablations of the papers, each with one command: runs, a table and a picture.

    python tools/analysis/ablation.py gcl-sampler --seeds 0 1 2 --amp
    python tools/analysis/ablation.py gcl-sampler --data digits      # minutes on a CPU
    python tools/analysis/ablation.py flattening --dry-run           # two iterations of every run

Runs lie in work_dirs/ablation/seed{S}/{config} and are shared between ablations; finished ones are
used again, interrupted ones go on. Table, picture and records go beside them, or with --publish to
docs/results/studies and docs/results/records. --collect-only makes them from the runs that are there.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tools' / 'benchmark')]

import study  # noqa: E402

from ltcls.analysis.comparison import write_comparison  # noqa: E402
from ltcls.engine.configs import config_names  # noqa: E402
from ltcls.engine.prepare import Options  # noqa: E402
from ltcls.engine.recipe import run  # noqa: E402
from ltcls.evaluation.table import comparison_table  # noqa: E402

WORK = Path('work_dirs') / 'ablation'
ENDINGS = dict(cifar10='resnet32_cifar10', cifar100='resnet32_cifar100', digits='resnet20_digits')
AMP = {'model.precision': 'bfloat16', 'model.channels_last': True}
# method, what it is called, the published number on CIFAR-10-LT at factor 100 where there is one
ABLATIONS = {
    'gcl-cloud-size': dict(
        title='Cloud sizes of GCL',
        about='How the size of the noise grows with the rarity of a class: cosine, powers, and the '
              'logarithm that GCL uses; CBEN re-training on top of each.',
        beside='published (Li et al., CVPR 2022, Table 3)',
        rows=[('gcl-cos-crt', 'cosine', 79.21),
              ('gcl-pow13-crt', 'power 1/3', 80.80),
              ('gcl-pow14-crt', 'power 1/4', 82.31),
              ('gcl-crt', 'logarithm (GCL)', 82.68)]),
    'gcl-sampler': dict(
        title='Samplers of the second stage of GCL',
        about='The classifier trained again on instance-balanced, class-balanced, effective-number '
              'and class-based effective-number samples.',
        beside='published (Li et al., CVPR 2022, Table 4)',
        rows=[('gcl-crt-ib', 'instance-balanced', 80.41),
              ('gcl-crt-cb', 'class-balanced', 82.43),
              ('gcl-crt-en', 'effective number', 82.47),
              ('gcl-crt', 'CBEN (GCL)', 82.68)]),
    'gcl-retrain': dict(
        title='Second stages of GCL',
        about='What is made of the features of stage 1: its own classifier, the nearest class mean, '
              'normalised rows, learned scales, or a classifier trained again.',
        beside='published (Li et al., CVPR 2022, Table 5)',
        rows=[('gcl', 'stage 1 alone', 80.52),
              ('gcl-ncm', 'nearest class mean', None),
              ('gcl-tau-norm', 'tau-normalisation', 82.16),
              ('gcl-lws', 'learned scales', 82.25),
              ('gcl-crt', 'CBEN re-training (GCL)', 82.68)]),
    'cc_sam-micro': dict(
        title='Parts of CC-SAM',
        about='cRT over a first stage without and with the direction, the magnitude and both of the '
              "class-wise perturbation, and CC-SAM's own second stage. The published numbers belong "
              'to another data set (by their size Places-LT): compare the order alone.',
        beside='published, another data set (Zhou et al., CVPR 2023)',
        rows=[('crt', 'cRT', 37.8),
              ('cc_sam-dir-crt', 'direction', 38.9),
              ('cc_sam-mag-crt', 'magnitude', 37.5),
              ('cc_sam-crt', 'direction and magnitude', 40.1),
              ('cc_sam-adv', 'and stage 2 (CC-SAM)', 40.6)]),
    'flattening': dict(
        title='General flattening tools over cRT',
        about='Weight averaging, spectral normalisation, a gradient-norm penalty and model '
              'perturbation, in stage 1, in stage 2 and in both. The poster of Zhou et al., CVPR '
              '2023, shows bars without numbers.',
        beside='published',
        rows=[('crt', 'cRT', None),
              *((method.format(tool=tool), f'{label}, {where}', None)
                for tool, label in (('swa', 'SWA'), ('sn', 'spectral norm'),
                                    ('gp', 'gradient-norm penalty'), ('mp', 'model perturbation'))
                for method, where in (('ce-{tool}-crt', 'stage 1'), ('crt-{tool}', 'stage 2'),
                                      ('ce-{tool}-crt-{tool}', 'both')))]),
}


def specification(name: str, data: str) -> dict:
    """An ablation on a data set, as tools/benchmark/study.py describes a study.

    Raises:
        ValueError: configs that do not exist for this data set.
    """
    given = ABLATIONS[name]
    published = data == 'cifar10'
    rows = [(f'{method}_{ENDINGS[data]}', label, number if published else None)
            for method, label, number in given['rows']]
    absent = [config for config, _, _ in rows if config not in config_names()]
    if absent:
        raise ValueError(f"{name} has no configs for --data {data}: there is no "
                         f"{', '.join(absent)}. Use --data cifar10.")
    return dict(given, title=f"{given['title']}, {data}", rows=rows,
                command=f'python tools/analysis/ablation.py {name} --data {data} --publish --collect-only')


def train(spec: dict, work: Path, seeds: list[int], options: argparse.Namespace) -> None:
    """Every run of the ablation; what is finished is not trained again."""
    for seed in seeds:
        for config, _, _ in spec['rows']:
            run(config, Options(
                work_dir=work / f'seed{seed}' / config, seed=seed, resume=True,
                cfg_options=AMP if options.amp else {}, data_root=options.data_root,
                dry_run=options.dry_run, command=' '.join(['python', *sys.argv])))


def summarise(name: str, spec: dict, work: Path, results: Path, pages: Path) -> Path:
    """Collect the records below `results`, write page and picture into `pages`; returns the page.

    Raises:
        FileNotFoundError: no finished run.
    """
    study.STUDIES[name] = spec
    study.collect(name, sorted(work.glob('seed*')), results)
    records = [record for config, _, _ in spec['rows']
               for record in study.records_of(name, config, results)]
    if not records:
        raise FileNotFoundError(f'There is no finished run of {name} in {work}: leave out '
                                '--collect-only.')
    picture = write_comparison(records, pages / f'{name}.png')
    page = pages / f'{name}.md'
    text = study.page(name, results)
    title, rest = text.split('\n', 1)
    page.write_text(f'{title}\n\n![accuracy by group and class]({picture.name})\n{rest}')
    print(comparison_table(records, average=True))
    return page


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('ablation', choices=sorted(ABLATIONS))
    arguments.add_argument('--data', choices=sorted(ENDINGS), default='cifar10')
    arguments.add_argument('--seeds', type=int, nargs='+', default=[0])
    arguments.add_argument('--work-dir', type=Path, default=WORK)
    arguments.add_argument('--data-root', help='folder of the data, instead of that of the configs')
    arguments.add_argument('--amp', action='store_true', help='bfloat16, channels-last memory')
    arguments.add_argument('--collect-only', action='store_true', help='train nothing')
    arguments.add_argument('--publish', action='store_true', help='results go to docs/results/studies')
    arguments.add_argument('--dry-run', action='store_true',
                           help='random images, two iterations of every stage, no table')
    options = arguments.parse_args()
    try:
        spec = specification(options.ablation, options.data)
        if options.dry_run:
            with tempfile.TemporaryDirectory(prefix='ltcls-ablation-') as folder:
                train(spec, Path(folder), options.seeds, options)
            print(f"{options.ablation}: all {len(spec['rows'])} runs rehearsed")
            return 0
        if not options.collect_only:
            train(spec, options.work_dir, options.seeds, options)
        name = options.ablation + ('' if options.data == 'cifar10' else f'-{options.data}')
        results, pages = ((study.RESULTS, study.PAGES) if options.publish else
                          (options.work_dir, options.work_dir))
        print(summarise(name, spec, options.work_dir, results, pages))
    except (ValueError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
