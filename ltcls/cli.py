"""The command `ltcls`: one module of `ltcls.commands` for each of its subcommands."""

import argparse
import importlib
import os
import shlex
import sys
import traceback
from pathlib import Path

COMMANDS = ('train', 'test', 'list')


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 after a one-line error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    options.command_line = 'ltcls ' + shlex.join(arguments)
    try:
        return options.run(options) or 0
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
    for name in COMMANDS:
        module = importlib.import_module(f'ltcls.commands.{name}')
        command = commands.add_parser(name, help=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


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
