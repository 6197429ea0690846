"""Collect what a machine without network needs to run the queue: wheels and data, in one folder.

    python tools/benchmark/pack.py --python 3.12 --data cifar10=cifar10_jpg.tar.gz

Copy the checkout, with build/carry in it, to the machine; there, in the checkout:

    bash build/carry/setup.sh
    export PYTHONPATH=$PWD/build/carry/site
    python3 tools/benchmark/reproduce.py --hours 0.4 --parallel 8

The machine is expected to have PyTorch and the usual packages around it (THERE); what ltcls needs
beyond them, itself included by way of the checkout, is carried.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
THERE = ('torch', 'torchvision', 'timm', 'scikit-learn', 'matplotlib', 'rich', 'numpy', 'pillow',
         'pyyaml', 'opencv-python')
# mmengine asks for opencv-python; the headless build holds the same module, needs no libGL, and a
# machine that has either has it.
SAME = {'opencv-python': 'opencv-python-headless'}
# In the order in which pip prefers them; older ones run on newer machines.
PLATFORMS = tuple(f'manylinux_2_{minor}_x86_64' for minor in (28, 27, 24, 17)) + (
    'manylinux2014_x86_64', 'manylinux1_x86_64')

SETUP = """\
#!/usr/bin/env bash
# Unpack what tools/benchmark/pack.py collected; to be run in the checkout, as often as one likes.
set -euo pipefail
carry=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
if [ -n "$(ls "$carry/wheels")" ]; then
    ${{PYTHON:-python3}} -m pip install -q --no-index --no-deps --no-cache-dir --upgrade \\
        --target "$carry/site" "$carry"/wheels/*.whl
fi
unpack() {{
    if [ ! -e "data/$1/.unpacked" ]; then
        mkdir -p "data/$1"
        tar -xf "$carry/data/$2" -C "data/$1"
        touch "data/$1/.unpacked"
    fi
}}
{unpack}
echo "now: export PYTHONPATH=$carry/site"
"""


def plain(name: str) -> str:
    """A package's name as pip compares it; the headless OpenCV stands for both builds."""
    name = re.sub(r'[-_.]+', '-', name).lower()
    return SAME.get(name, name)


def closure(names, python: str) -> set[str]:
    """The packages and all that they require, read from what is installed here."""
    found, waiting = set(), [plain(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is None or marker.evaluate(dict(python_version=python, extra='')):
                waiting.append(plain(requirement.name))
    return found


def missing(python: str, there=THERE) -> list[str]:
    """What ltcls needs and the machine lacks, each with the version in use here."""
    lines = (ROOT / 'requirements' / 'runtime.txt').read_text().splitlines()
    needed = closure([Requirement(line).name for line in lines if line.strip()], python)
    lacking = sorted(needed - closure(there, python))
    return [name if (version := _version(name)) is None else f'{name}=={version}'
            for name in lacking]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def download(packages: list[str], python: str, folder: Path) -> None:
    """Wheels for Linux on x86-64 and the given Python, by pip."""
    platforms = [word for platform in PLATFORMS for word in ('--platform', platform)]
    subprocess.run([sys.executable, '-m', 'pip', 'download', '-q', '--no-deps',
                    '--only-binary=:all:', '--implementation', 'cp',
                    '--python-version', python, *platforms, '-d', str(folder), *packages],
                   check=True)


def pack(out: Path, archives: dict[str, Path], python: str, there=THERE, limit: int = 64 * 2**20,
         fetch=download) -> list[Path]:
    """Fill the folder anew; returns its files.

    Args:
        archives: tar files by the name of the folder in data/ that they are unpacked to.
        limit: of all files together, in bytes.

    Raises:
        FileNotFoundError, ValueError: an archive that is not there or no tar file; too much.
    """
    for name, archive in archives.items():
        if not archive.is_file():
            raise FileNotFoundError(f'There is no archive {archive} for data/{name}.')
        if not tarfile.is_tarfile(archive):
            raise ValueError(f'{archive} is no tar file: pack train/ and test/ with tar -czf.')
        if archive.resolve().is_relative_to(out.resolve()):
            raise ValueError(f'{archive} lies in {out}, which is made anew: move one of them.')
    others = {path.name for path in out.glob('*')} - {'wheels', 'data', 'setup.sh', 'site'}
    if others:
        raise ValueError(f'{out} holds {sorted(others)[0]}, which no pack has: choose a folder of '
                         'its own with --out.')
    shutil.rmtree(out, ignore_errors=True)
    for folder in ('wheels', 'data'):
        (out / folder).mkdir(parents=True)
    packages = missing(python, there)
    if packages:
        fetch(packages, python, out / 'wheels')
    for name, archive in archives.items():
        shutil.copyfile(archive, out / 'data' / f'{name}-{archive.name}')
    unpack = '\n'.join(f"unpack {name} {shlex.quote(f'{name}-{archive.name}')}"
                       for name, archive in archives.items())
    (out / 'setup.sh').write_text(SETUP.format(unpack=unpack))
    files = sorted(path for path in out.rglob('*') if path.is_file())
    total = sum(path.stat().st_size for path in files)
    if total > limit:
        largest = max(files, key=lambda path: path.stat().st_size)
        raise ValueError(f'{out} holds {total / 2**20:.1f} MiB, more than {limit / 2**20:.0f}; the '
                         f'largest is {largest.name}. Leave out an archive, or raise --limit.')
    return files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', nargs='+', default=[], metavar='NAME=ARCHIVE',
                        help='tar files and the folder below data/ that each is unpacked to')
    parser.add_argument('--out', type=Path, default=ROOT / 'build' / 'carry')
    parser.add_argument('--python', default='3.12', help='Python of the machine')
    parser.add_argument('--there', nargs='+', default=THERE, metavar='PACKAGE',
                        help='packages that the machine has, with what they require')
    parser.add_argument('--limit', type=float, default=64, help='MiB of all files together')
    options = parser.parse_args(arguments)
    try:
        pairs = (pair.partition('=') for pair in options.data)
        archives = {}
        for name, equals, path in pairs:
            if not equals:
                raise ValueError(f'--data {name}: use NAME=ARCHIVE, as cifar10=cifar10.tar.gz.')
            archives[name] = Path(path)
        files = pack(options.out, archives, options.python, options.there,
                     int(options.limit * 2**20))
    except (ValueError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f'error: pip could not fetch the wheels (exit status {error.returncode})',
              file=sys.stderr)
        return 2
    for path in files:
        print(f'{path.stat().st_size / 2**20:8.2f} MiB  {path.relative_to(options.out)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
