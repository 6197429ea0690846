"""The command `ltcls`: one module of `ltcls.commands` for each of its subcommands."""

import argparse
import importlib
import os
import select
import shlex
import sys
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path

COMMANDS = ('train', 'test', 'predict', 'list', 'data', 'analyze', 'report')
STDOUT = 1      # its file descriptor


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0; 2 after an error, which is one line; 143 after SIGTERM and 130 after Ctrl-C; 141 when nobody
    reads the output any more.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='backslashreplace')     # names of files are any bytes
    options = parser().parse_args(arguments)
    options.command_line = 'ltcls ' + shlex.join(arguments)
    try:
        with _short_warnings():
            status = options.run(options) or 0
            sys.stdout.flush()
            return status
    except KeyboardInterrupt as stop:
        print(f"stopped: {'; '.join(['Ctrl-C', *map(str, stop.args)])}.", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get('LTCLS_DEBUG') == '1':
            raise
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            # Python would write what is left when it exits, and fail once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
            return 141
        status = getattr(error, 'exit_status', 2)
        print(f"{'error' if status == 2 else 'stopped'}: {_one_line(error)}", file=sys.stderr)
        return status


def _nobody_reads() -> bool:
    """Whether it is stdout that is broken, and not the pipe of a worker."""
    look = select.poll()
    look.register(STDOUT, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0))


@contextmanager
def _short_warnings():
    """Our warnings are one line, as our errors are."""
    usual = warnings.showwarning

    def show(message, category, filename, *rest) -> None:
        if category is UserWarning and Path(__file__).parent in Path(filename).parents:
            print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            usual(message, category, filename, *rest)
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual


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


def _one_line(error: Exception) -> str:
    """What the error says, and its kind where it is not one of ours."""
    message = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if 'Original Traceback (most recent call last)' in message:
        # From a worker of a data loader; its error is the last line.
        kind, _, message = message.strip().splitlines()[-1].partition(': ')
        inside = kind.startswith('ltcls.')
    else:
        frames = traceback.extract_tb(error.__traceback__)
        inside = frames and Path(__file__).parent in Path(frames[-1].filename).parents
        kind = type(error).__name__
    text = ' '.join(message.split()) or kind
    return text if inside else f'{text} ({kind}; LTCLS_DEBUG=1 shows where)'


if __name__ == '__main__':
    sys.exit(main())
