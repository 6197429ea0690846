"""How long a user waits: from the command to the end of the first training iteration.

Each measurement is a new process. Beside the config runs the interpreter that only imports what
every PyTorch program of this kind imports: torch, torchvision and mmengine's runner. Both in turn,
round after round, after one round that fills the file cache.

    python tools/benchmark/startup.py --rounds 7 --out docs/results/startup.json
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from terminaltables import AsciiTable  # noqa: E402
from timing import write_result  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.engine.configs import find_config  # noqa: E402

FOLDER = Path(__file__).resolve().parent
TRAIN = FOLDER.parents[0] / 'train.py'
MARKED = '''_base_ = {base!r}
custom_imports = dict(imports=['first_iteration'])
custom_hooks = [dict(type='FirstIterationHook')]
'''
IMPORTS = 'import time, torch, torchvision, mmengine.runner; print(repr(time.time()))'


def seconds_to_first_iteration(config: str) -> float:
    """Of `python tools/train.py CONFIG`, the first iteration included."""
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / 'mark'
        paths = [str(FOLDER), os.environ.get('PYTHONPATH', '')]
        environment = dict(os.environ, LTCLS_FIRST_ITERATION=str(mark),
                           PYTHONPATH=os.pathsep.join(path for path in paths if path))
        marked = Path(folder) / 'marked.py'
        marked.write_text(MARKED.format(base=str(find_config(config))))
        command = [sys.executable, str(TRAIN), str(marked), '--work-dir', f'{folder}/run']
        started = time.time()
        done = subprocess.run(command, env=environment, text=True, capture_output=True)
        if not mark.is_file():
            raise RuntimeError(f'{config} reached no iteration: {done.stderr.strip()[-500:]}')
        return float(mark.read_text()) - started


def seconds_to_import() -> float:
    """Of an interpreter that imports the packages below ltcls."""
    started = time.time()
    done = subprocess.run([sys.executable, '-c', IMPORTS], text=True, capture_output=True,
                          check=True)
    return float(done.stdout) - started


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', default='ce_resnet20_digits')
    parser.add_argument('--rounds', type=at_least(2), default=7)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    options = parser.parse_args(arguments)
    measured = dict(imports=seconds_to_import,
                    first_iteration=lambda: seconds_to_first_iteration(options.config))
    for function in measured.values():
        function()
    times = {name: [] for name in measured}
    for _ in range(options.rounds):
        for name, function in measured.items():
            times[name].append(round(function(), 3))
    result = dict(config=options.config, rounds=options.rounds, seconds=times,
                  median={name: round(statistics.median(found), 3)
                          for name, found in times.items()})
    print(AsciiTable([('until', 'median s', 'lowest', 'highest'), *(
        (name, result['median'][name], min(found), max(found))
        for name, found in times.items())]).table)
    write_result(result, options.out)
    return result


if __name__ == '__main__':
    main()
