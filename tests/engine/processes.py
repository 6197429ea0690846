"""The command `ltcls` in processes of their own, which may be killed or run side by side.

They are forked from a server that has the libraries imported already and has computed nothing. They
see no GPU, compute with one thread each and draw no pictures.
"""

import functools
import multiprocessing
import os
import pty
import select
import signal
import socket
import sys
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

LIMIT = 600     # seconds; a run here takes a few
context = multiprocessing.get_context('forkserver')
context.set_forkserver_preload([
    'ltcls.engine.recipe', 'ltcls.engine.distributed', 'ltcls.datasets', 'ltcls.samplers',
    'ltcls.losses', 'ltcls.models', 'ltcls.hooks', 'ltcls.evaluation', 'sklearn.datasets',
    'torch._dynamo'])


@functools.cache
def serve() -> None:
    """Start the server; it keeps the environment that it is started with."""
    with patch.dict(os.environ, CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1'):
        forkserver.ensure_running()


def start(arguments: list[str], output: Path, **environment: str):
    serve()
    process = context.Process(target=_main, args=(arguments, str(output), environment))
    process.start()
    return process


def finish(process) -> int:
    """The exit status; -9 for a process that was killed with SIGKILL."""
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f'not done after {LIMIT} s')
    return process.exitcode


def command(*arguments: str | Path, output: Path, **environment: str) -> int:
    """Run `ltcls ARGUMENTS` in a new process; what it prints goes to the file `output`."""
    return finish(start([str(a) for a in arguments], output, **environment))


def command_on_a_terminal(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Run `ltcls ARGUMENTS` on a pseudo-terminal; its status and all that it sent there."""
    reader, terminal = pty.openpty()
    process = start([str(a) for a in arguments], Path(os.ttyname(terminal)), TERM='xterm',
                    **environment)
    sent = b''
    try:
        while select.select([reader], [], [], 0.1)[0] or process.exitcode is None:
            if select.select([reader], [], [], 0)[0]:      # full, it would stop the process
                sent += os.read(reader, 65536)
        return finish(process), sent.decode()
    finally:
        process.kill()
        os.close(reader)
        os.close(terminal)


def ranks(count: int, *arguments: str | Path, output: Path, **environment: str) -> list[int]:
    """Run `ltcls ARGUMENTS` on several ranks of one machine; their exit statuses."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    processes = [start([str(a) for a in arguments], output.with_suffix(f'.{rank}'), RANK=str(rank),
                       LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1',
                       MASTER_PORT=port, **environment) for rank in range(count)]
    return [finish(process) for process in processes]


def _main(arguments: list[str], output: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)   # ignored in jobs in the background
    if 'FOLDER' in environment:      # a working directory for each rank
        os.chdir(environment['FOLDER'] + environment['RANK'])
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = os.fdopen(1, 'w')
    sys.stderr = os.fdopen(2, 'w')
    from ltcls import cli
    from ltcls.commands import arguments as common
    common.report = lambda record, work_dir, log: None
    status = cli.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
