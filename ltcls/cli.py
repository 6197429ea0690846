"""The command `ltcls`: train, test, list."""

import argparse
import os
import shlex
import sys
import traceback
from pathlib import Path

COMMANDS = {
    'train': 'train a config, with every stage it starts from',
    'test': 'test a checkpoint with a config',
    'list': 'the registered components, or the shipped configs',
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 after a one-line error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    options.command_line = 'ltcls ' + shlex.join(arguments)
    try:
        return globals()[f'_{options.command}'](options) or 0
    except (ValueError, TypeError, KeyError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get('LTCLS_DEBUG') == '1':
            raise
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f'error: {_one_line(str(message), error)}', file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The argument parser of the whole command."""
    top = argparse.ArgumentParser(
        prog='ltcls', description='Long-tailed image classification.')
    top.add_argument('--version', action='version', version=_version())
    commands = top.add_subparsers(dest='command', required=True)

    train = commands.add_parser('train', help=COMMANDS['train'])
    _config_arguments(train)
    train.add_argument('--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
                       help='continue the newest checkpoint of the run, or the one named here')
    train.add_argument('--seed', type=int, help='seed of every stage')
    train.add_argument('--dry-run', action='store_true',
                       help='random images instead of the data, two iterations, validation and '
                            'checkpoint of every stage, in a temporary folder')

    test = commands.add_parser('test', help=COMMANDS['test'])
    _config_arguments(test)
    test.add_argument('checkpoint', help='a checkpoint file, or the folder of a run')

    listing = commands.add_parser('list', help=COMMANDS['list'])
    listing.add_argument('what', nargs='?', default=None,
                         help="a registry (models, losses, ...), 'configs' or 'plugins'")
    return top


def _config_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument('config', help='a config file, or the name of a shipped config')
    command.add_argument('--work-dir', help='folder of the run; work_dirs/<config name> otherwise')
    command.add_argument('--data-root', help='folder of the data, instead of the one in the config')
    command.add_argument('--skip-bad-images', action='store_true',
                         help='leave out images that cannot be read, and list them')
    command.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                         help='config keys to override in every stage, e.g. train_cfg.max_epochs=5')
    command.add_argument('--amp', action='store_true',
                         help='bfloat16 with channels-last memory, on GPU and CPU')
    command.add_argument('--launcher', default='none',
                         choices=['none', 'pytorch', 'slurm', 'mpi'])
    command.add_argument('--local_rank', '--local-rank', type=int, default=0,
                         help=argparse.SUPPRESS)


def _engine_options(options: argparse.Namespace):
    from ltcls.engine.prepare import Options
    cfg_options = parse_cfg_options(options.cfg_options)
    if options.amp:
        cfg_options.update({'model.precision': 'bfloat16', 'model.channels_last': True})
    return Options(
        work_dir=None if options.work_dir is None else Path(options.work_dir),
        cfg_options=cfg_options, data_root=options.data_root,
        skip_bad_images=options.skip_bad_images, launcher=options.launcher,
        command=options.command_line, report=report)


def parse_cfg_options(pairs: list[str]) -> dict:
    """['a.b=1', 'c=[1,2]', 'd=name'] -> {'a.b': 1, 'c': [1, 2], 'd': 'name'}.

    Raises:
        ValueError: a pair without '='.
    """
    import ast
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition('=')
        if not equals or not key:
            raise ValueError(f"--cfg-options got '{pair}'; write key=value, e.g. "
                             'train_cfg.max_epochs=5.')
        try:
            values[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[key] = dict(true=True, false=False, none=None).get(text.lower(), text)
    return values


def report(record: dict, work_dir: Path, log: list[dict]) -> None:
    """The result of one stage: its tables on the terminal, its pictures beside the record."""
    from ltcls.analysis.plots import write_plots
    from ltcls.evaluation.table import run_table
    print(run_table(record), flush=True)
    pictures = write_plots(record, work_dir, log)
    print(f"record {work_dir / 'evaluation.json'}, pictures "
          f"{', '.join(sorted(path.name for path in pictures))} beside it", flush=True)


def rehearsed(record: dict, work_dir: Path, log: list[dict]) -> None:
    """One line instead: the numbers of a dry run mean nothing, and its folder is about to go."""
    from ltcls.analysis.plots import write_plots
    pictures = write_plots(record, work_dir, log)
    print(f"{record['name']}: rehearsed, {len(pictures)} pictures drawn", flush=True)


def _train(options: argparse.Namespace) -> int:
    from ltcls.engine.distributed import setup_distributed
    from ltcls.engine.recipe import run
    engine = _engine_options(options)
    engine.resume, engine.seed, engine.dry_run = options.resume, options.seed, options.dry_run
    with setup_distributed(engine.launcher):
        if options.dry_run:
            import tempfile
            with tempfile.TemporaryDirectory(prefix='ltcls-dry-run-') as folder:
                engine.work_dir = Path(folder) / Path(options.config).stem
                engine.report = rehearsed
                run(options.config, engine)
            print(f'dry run of {options.config}: every stage trained, tested and saved')
        else:
            run(options.config, engine)
    return 0


def _test(options: argparse.Namespace) -> int:
    from ltcls.engine.checkpoint import latest_checkpoint
    from ltcls.engine.configs import find_config
    from ltcls.engine.distributed import setup_distributed
    from ltcls.engine.prepare import load_config
    from ltcls.engine.stage import test_checkpoint
    engine = _engine_options(options)
    path = find_config(options.config)
    checkpoint = Path(options.checkpoint)
    if checkpoint.is_dir():
        checkpoint = latest_checkpoint(checkpoint) or checkpoint / 'last_checkpoint'
    if not checkpoint.is_file():
        raise FileNotFoundError(f'There is no checkpoint {checkpoint}.')
    if engine.work_dir is None:
        engine.work_dir = checkpoint.parent / 'test'
    with setup_distributed(engine.launcher):
        test_checkpoint(path, load_config(path, engine), checkpoint, engine)
    return 0


def _list(options: argparse.Namespace) -> int:
    from terminaltables import AsciiTable

    from ltcls.engine.configs import config_names
    from ltcls.plugins import component_table, plugin_states
    what = options.what
    if what == 'configs':
        rows = [('config', 'file'),
                *((name, '/'.join(path.parts[-2:])) for name, path in config_names().items())]
    elif what == 'plugins':
        rows = [('plugin', 'package', 'status', 'error'),
                *((p.name, p.package, p.status, p.error) for p in plugin_states())]
    else:
        found = [row for row in component_table() if what is None or row[0] == what]
        if not found:
            known = sorted({row[0] for row in component_table()})
            raise ValueError(f"There is no registry '{what}'; there are {', '.join(known)}, and "
                             "'configs' and 'plugins'.")
        if what is None:
            found = [row for row in found if not row[3].startswith('mmengine')]
        rows = [('registry', 'name', 'module', 'package'), *found]
    print(AsciiTable(rows).table)
    return 0


def _version() -> str:
    from ltcls import __version__
    return f'ltcls {__version__}'


def _one_line(message: str, error: BaseException) -> str:
    text = ' '.join(message.split()) or type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    inside = frames and Path(__file__).parent in Path(frames[-1].filename).parents
    return text if inside else f'{text} ({type(error).__name__}; LTCLS_DEBUG=1 shows where)'


if __name__ == '__main__':
    sys.exit(main())
