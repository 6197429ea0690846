"""`ltcls data`: look at the data of a config, or lay data out from its archives."""

import argparse
import copy
import sys
import warnings
from pathlib import Path

from .arguments import parse_cfg_options

HELP = "check a config's data, or lay out data from the archives you have"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `ltcls data` takes."""
    actions = command.add_subparsers(dest='action', required=True)
    check = actions.add_parser(
        'check', help='build every data set of a config and say what is wrong, without training')
    check.add_argument('config', help='a config file, or the name of a shipped config')
    check.add_argument('--data-root', help='folder of the data, instead of the one in the config')
    check.add_argument('--verify', choices=['exists', 'header', 'full', 'none'],
                       help='what is looked at of every file; as in the config otherwise')
    check.add_argument('--skip-bad-images', action='store_true',
                       help='leave out images that cannot be read, and count them')
    check.add_argument('--cfg-options', nargs='+', action='extend', default=[],
                       metavar='KEY=VALUE')
    link = actions.add_parser(
        'link', help='unpack published archives, link lists and folders, where configs look')
    link.add_argument('archives', nargs='+', type=Path,
                      help='archives, lists, annotations or folders under their published names')
    link.add_argument('--root', type=Path,
                      help="the data set's folder; data/imagenet, data/places, data/inat2018 or "
                           'data/inat2017 otherwise')
    link.add_argument('--all', action='store_true',
                      help='unpack also the images that no list names')


def run(options: argparse.Namespace) -> int | None:
    """Check, or link."""
    if options.action == 'link':
        from ltcls.datasets.archives import lay_out
        lay_out(options.archives, options.root, options.all)
        return None
    return check(options)


def check(options: argparse.Namespace) -> int:
    """Print a table of the data sets that can be used; 2 if there is one that cannot."""
    from terminaltables import AsciiTable

    from ltcls.datasets.loading import try_batch
    from ltcls.datasets.overlap import check_apart
    from ltcls.engine.prepare import Options, load_config
    cfg = load_config(options.config, Options(
        cfg_options=parse_cfg_options(options.cfg_options), data_root=options.data_root,
        skip_bad_images=options.skip_bad_images))
    rows = [('loader', 'split', 'images', 'classes', 'a class', 'many / medium / few', 'left out',
             'fingerprint')]
    problems: dict[str, list[str]] = {}
    train = None
    for loaders, config in _datasets(cfg).items():
        try:
            dataset = _build(config, options.verify)
            rows.append((loaders, *_describe(dataset)))
            classes, expected = len(dataset.class_counts), cfg.data_preprocessor.num_classes
            if classes != expected:
                raise ValueError(f'The data have {classes:,} classes, the model {expected:,}: set '
                                 f'data_preprocessor.num_classes={classes}.')
            parts = loaders.split(', ')
            train = dataset if 'train' in parts else train
            for part in {'val', 'test'} & set(parts) if train is not None else ():
                check_apart(train, dataset, part)
            joined = [part for part in parts if _joins(cfg, part)]
            if joined:
                try_batch(dataset, _loader(joined[0]))
        except (ValueError, OSError, ImportError) as error:
            problems.setdefault(' '.join(str(error).split()), []).append(loaders)
    if len(rows) > 1:
        print(AsciiTable(rows).table)
    for message, loaders in problems.items():
        print(f"error: {', '.join(loaders)}: {message}", file=sys.stderr)
    return 2 if problems else 0


def _datasets(cfg) -> dict[str, dict]:
    """The config of every different data set, by the loaders that use it."""
    found: list[tuple[dict, list[str]]] = []
    for name in ('train', 'val', 'test', 'dev'):
        loader = cfg.get(f'{_loader(name)}_dataloader')
        if loader is None:
            continue
        config = loader.dataset.to_dict()
        if name == 'dev':
            images = config.get('known', config)         # of an open set
            if not images.get('held_out'):
                continue
            images['split'] = 'dev'
        users = next((users for known, users in found if known == config), None)
        if users is None:
            found.append((config, [name]))
        else:
            users.append(name)
    return {', '.join(users): config for config, users in found}


def _loader(part: str) -> str:
    """The loader that a part of the data belongs to."""
    return 'train' if part == 'dev' else part


def _joins(cfg, part: str) -> bool:
    """Whether images of this part are put together, so that they need one size."""
    from ltcls.datasets import collate_batch
    from ltcls.registry import FUNCTIONS
    loader = cfg[f'{_loader(part)}_dataloader']
    return loader.get('batch_size', 1) != 1 and FUNCTIONS.get(loader.collate_fn.type) is collate_batch


def _build(config: dict, verify: str | None):
    """Build a data set and read one image through its pipeline."""
    from ltcls.datasets.files import ImageFileDataset
    from ltcls.registry import DATASETS
    config = copy.deepcopy(config)
    for node in (config, config.get('known'), config.get('unknown')):
        if verify and node and issubclass(DATASETS.get(node['type']), ImageFileDataset):
            node['verify'] = verify
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        dataset = DATASETS.build(config)
        dataset[0]
    for warning in caught:
        print(f'warning: {warning.message}', file=sys.stderr)
    return dataset


def _describe(dataset) -> tuple:
    """The row of a data set in the table."""
    from ltcls.longtail import shot_groups
    counts = dataset.class_counts
    groups = shot_groups(counts).values()
    return (dataset.split, f'{len(dataset):,}', f'{len(counts):,}',
            f'{max(counts):,} to {min(counts):,}',
            ' / '.join(str(len(group)) for group in groups), len(getattr(dataset, 'skipped', ())),
            dataset.fingerprint[:12])
