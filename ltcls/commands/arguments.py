"""The arguments that several commands share."""

import argparse
import ast
from pathlib import Path


def config_arguments(command: argparse.ArgumentParser, work_dir: str) -> None:
    """A config, and what may be said about it on the command line; `work_dir` is a help text."""
    command.add_argument('config', help='a config file, or the name of a shipped config')
    command.add_argument('--work-dir', help=work_dir)
    command.add_argument('--data-root', help='folder of the data, instead of the one in the config')
    command.add_argument('--skip-bad-images', action='store_true',
                         help='leave out images that cannot be read, and count them')
    command.add_argument('--cfg-options', nargs='+', action='extend', default=[],
                         metavar='KEY=VALUE',
                         help='config keys to override in every stage, e.g. train_cfg.max_epochs=5')
    command.add_argument('--amp', action='store_true',
                         help='bfloat16 with channels-last memory, on GPU and CPU')
    command.add_argument('--launcher', default='none',
                         choices=['none', 'pytorch', 'slurm'])
    command.add_argument('--local_rank', '--local-rank', type=int, default=0,
                         help=argparse.SUPPRESS)


def engine_options(options: argparse.Namespace):
    """The engine's `Options` from what `config_arguments` read."""
    from ltcls.engine.prepare import Options
    cfg_options = parse_cfg_options(options.cfg_options)
    if options.amp:
        asked = cfg_options.get('model.precision', 'bfloat16')
        if asked != 'bfloat16':
            raise ValueError(f'--amp is bfloat16, and --cfg-options has model.precision={asked}: '
                             'leave out one of them.')
        cfg_options.update({'model.precision': 'bfloat16', 'model.channels_last': True})
    return Options(
        work_dir=None if options.work_dir is None else Path(options.work_dir),
        cfg_options=cfg_options, data_root=options.data_root,
        skip_bad_images=options.skip_bad_images, launcher=options.launcher,
        command=options.command_line, report=report)


def at_least(smallest: int):
    """The type of an argument that is a whole number from `smallest` on."""
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"'{text}' must be a number from {smallest} on")
        return int(text)
    return number


def parse_cfg_options(pairs: list[str]) -> dict:
    """['a.b=1', 'c=[1,2]', 'd=name'] -> {'a.b': 1, 'c': [1, 2], 'd': 'name'}.

    Raises:
        ValueError: a pair without '='.
    """
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
    try:
        pictures = write_plots(record, work_dir, log)
    except Exception as error:     # the record is there, and a second stage may wait for this one
        print(f"record {work_dir / 'evaluation.json'}; warning: its pictures could not be drawn: "
              f'{type(error).__name__}: {error}', flush=True)
        return
    print(f"record {work_dir / 'evaluation.json'}, pictures "
          f"{', '.join(sorted(path.name for path in pictures))} beside it", flush=True)
