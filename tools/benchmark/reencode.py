"""A copy of a tree of JPEG images, encoded once more at a lower quality.

How much of a result the encoding of the images takes can only be seen from one step further down:
train on the copy, compare.

    python tools/benchmark/reencode.py data/cifar10 data/cifar10-q50 --quality 50
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
        with Image.open(path) as image:
            before = np.asarray(image.convert('RGB'), dtype=np.float64)
            image.save(copy, 'JPEG', quality=quality, subsampling='4:2:0')
        with Image.open(copy) as image:
            squares += ((np.asarray(image.convert('RGB')) - before) ** 2).mean()
    return len(paths), (squares / len(paths)) ** 0.5


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path)
    parser.add_argument('target', type=Path)
    parser.add_argument('--quality', type=int, default=50)
    options = parser.parse_args(arguments)
    try:
        count, change = reencode(options.source, options.target, options.quality)
    except (FileNotFoundError, FileExistsError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{count} images of quality {options.quality} in {options.target}; '
          f'a channel changed by {change:.2f} of 255 (root mean square)')
    return 0


if __name__ == '__main__':
    sys.exit(main())
