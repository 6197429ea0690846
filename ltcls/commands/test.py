"""`ltcls test`."""

import argparse
from pathlib import Path

from .arguments import config_arguments, engine_options

HELP = 'test a checkpoint with a config'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `ltcls test` takes."""
    config_arguments(command, 'folder of the result; test/ beside the checkpoint otherwise')
    command.add_argument('checkpoint', help='a checkpoint file, or the folder of a run')


def run(options: argparse.Namespace) -> None:
    """Test the checkpoint; the record goes to `test/` beside it, or to --work-dir."""
    from ltcls.engine.checkpoint import latest_checkpoint
    from ltcls.engine.configs import find_config
    from ltcls.engine.distributed import setup_distributed
    from ltcls.engine.prepare import load_config, patience
    from ltcls.engine.stage import test_checkpoint
    engine = engine_options(options)
    path = find_config(options.config)
    checkpoint = Path(options.checkpoint)
    if checkpoint.is_dir():
        found = latest_checkpoint(checkpoint)
        if found is None:
            raise FileNotFoundError(f'{checkpoint.absolute()} holds no checkpoint of a run '
                                    '(epoch_N.pth): name a run, or a file.')
        checkpoint = found
    if not checkpoint.is_file():
        raise FileNotFoundError(f'There is no checkpoint {checkpoint}.')
    if engine.work_dir is None:
        engine.work_dir = checkpoint.parent / 'test'
    with setup_distributed(engine.launcher, patience(path, engine)):
        test_checkpoint(path, load_config(path, engine), checkpoint, engine)
