"""A copy of a tree of JPEG images, encoded once more at a lower quality.

How much of a result the encoding of the images takes is seen by training on a coarser copy, or on
the pixels from before the encoding where they are at hand (`cifar10_png.py`).

    python tools/benchmark/reencode.py data/cifar10 data/cifar10-q50 --quality 50
    python tools/benchmark/reencode.py data/cifar10 --against data/cifar10-original

The second form says how far the images of two trees are apart.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def reencode(source: Path, target: Path, quality: int) -> tuple[int, float]:
    """Write the copy, with colours at half the resolution as in the source.

    Returns:
        the number of images, and the root mean square of the change in a pixel's channel, of 255.

    Raises:
        FileNotFoundError: no JPEG files below the source.
        FileExistsError: the target is there already.
    """
    paths = sorted(source.rglob('*.jpg'))
    if not paths:
        raise FileNotFoundError(f'{source} holds no .jpg files.')
    if target.exists():
        raise FileExistsError(f'{target} exists already: remove it, or name another folder.')
    squares = 0.0
    for path in paths:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        before = _pixels(path)
        with Image.open(path) as image:
            image.save(copy, 'JPEG', quality=quality, subsampling='4:2:0')
        squares += ((_pixels(copy) - before) ** 2).mean()
    return len(paths), (squares / len(paths)) ** 0.5


def distance(source: Path, other: Path) -> tuple[int, float]:
    """The number of images that both trees hold, whatever their format, and the root mean square of
    the difference in a pixel's channel, of 255.

    Raises:
        FileNotFoundError: an image of the source that the other lacks, or none at all.
    """
    others = {path.relative_to(other).with_suffix(''): path for path in other.rglob('*.*')}
    paths = sorted(source.rglob('*.jpg'))
    if not paths:
        raise FileNotFoundError(f'{source} holds no .jpg files.')
    squares = 0.0
    for path in paths:
        name = path.relative_to(source).with_suffix('')
        if name not in others:
            raise FileNotFoundError(f'{other} holds no image {name}.')
        squares += ((_pixels(path) - _pixels(others[name])) ** 2).mean()
    return len(paths), (squares / len(paths)) ** 0.5


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert('RGB'), dtype=np.float64)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path)
    parser.add_argument('target', type=Path, nargs='?')
    parser.add_argument('--quality', type=int, default=50)
    parser.add_argument('--against', type=Path, help='another tree to compare the source with')
    options = parser.parse_args(arguments)
    if (options.target is None) == (options.against is None):
        parser.error('give a second folder, or --against')
    try:
        if options.against is not None:
            count, change = distance(options.source, options.against)
            print(f'{count} images; a channel differs by {change:.2f} of 255 (root mean square)')
            return 0
        count, change = reencode(options.source, options.target, options.quality)
    except (FileNotFoundError, FileExistsError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{count} images of quality {options.quality} in {options.target}; '
          f'a channel changed by {change:.2f} of 255 (root mean square)')
    return 0


if __name__ == '__main__':
    sys.exit(main())
