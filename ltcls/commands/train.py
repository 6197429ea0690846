"""`ltcls train`."""

import argparse
import warnings
from pathlib import Path

from .arguments import config_arguments, engine_options

HELP = 'train a config, with every stage it starts from'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `ltcls train` takes."""
    config_arguments(command, 'folder of the run; work_dirs/<config name> otherwise')
    command.add_argument('--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
                         help='continue the newest checkpoint of the run, or the one named here')
    command.add_argument('--seed', type=int, help='seed of every stage')
    command.add_argument('--on-nan', choices=['stop', 'skip'], default='stop',
                         help='a loss that is NaN or infinite ends the run (the default), or its '
                              'step is dropped and counted')
    command.add_argument('--dry-run', action='store_true',
                         help='random images instead of the data, two iterations, validation and '
                              'checkpoint of every stage, in a temporary folder (beside --work-dir, '
                              'if that is given)')


def run(options: argparse.Namespace) -> None:
    """Train every stage of the recipe; or rehearse it."""
    if options.dry_run and isinstance(options.resume, str):
        raise ValueError(f'--dry-run begins anew with random images, and --resume {options.resume} '
                         'does not: leave out one of them.')
    from ltcls.engine import recipe
    from ltcls.engine.distributed import setup_distributed, temporary_folder
    from ltcls.engine.prepare import patience
    from ltcls.engine.stage import announce
    engine = engine_options(options)
    engine.resume, engine.seed, engine.dry_run = options.resume, options.seed, options.dry_run
    engine.on_nan = options.on_nan
    with setup_distributed(engine.launcher, patience(options.config, engine)):
        if not options.dry_run:
            recipe.run(options.config, engine)
            return
        parent = engine.work_dir and Path(engine.work_dir).parent
        with temporary_folder('ltcls-dry-run-', parent) as folder, warnings.catch_warnings():
            # Random images have no unknown class.
            warnings.filterwarnings('ignore', message='OpenSetAccuracy got no image')
            engine.work_dir = folder / Path(options.config).stem
            engine.report = rehearsed
            recipe.run(options.config, engine)
        announce(f'dry run of {options.config}: every stage trained, tested and saved')


def rehearsed(record: dict, work_dir: Path, log: list[dict]) -> None:
    """One line instead: the numbers of a dry run mean nothing, and its folder is about to go."""
    from ltcls.analysis.plots import write_plots
    pictures = write_plots(record, work_dir, log)
    print(f"{record['name']}: rehearsed, {len(pictures)} pictures drawn", flush=True)
