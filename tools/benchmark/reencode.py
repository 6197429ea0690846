"""A copy of a tree of JPEG images, encoded once more at a lower quality.

How much of a result the encoding of the images takes can only be seen from one step further down:
train on the copy, compare.

    python tools/benchmark/reencode.py data/cifar10 data/cifar10-q50 --quality 50

How much the first encoding changed the images of a tree cannot be seen from them. Without folders,
crops of the two photographs that come with scikit-learn, shrunk as CIFAR's images were, stand for
the originals:

    python tools/benchmark/reencode.py --first 75 --quality 50
"""

import argparse
import io
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


def encoded(pixels: np.ndarray, quality: int) -> tuple[np.ndarray, int]:
    """Pixels [H, W, 3] after an encoding with colours at half the resolution, and its bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', quality=quality, subsampling='4:2:0')
    return np.asarray(Image.open(file)), file.tell()


def on_photographs(first: int, second: int, shrink: int = 5, size: int = 32, crops: int = 600,
                   seed: int = 0) -> tuple[float, float, float]:
    """Root mean square of the change in a channel by a first and then a second encoding of random
    crops, and the mean bytes of the first.

    Shrunk to a fifth, the second encoding changes them as much as it changes CIFAR-10 in JPEG.
    """
    from sklearn.datasets import load_sample_images
    photographs = [np.asarray(Image.fromarray(image).reduce(shrink))
                   for image in load_sample_images().images]
    draws = np.random.default_rng(seed)
    squares, length = np.zeros(2), 0
    for number in range(crops):
        photograph = photographs[number % len(photographs)]
        top, left = (draws.integers(0, side - size + 1) for side in photograph.shape[:2])
        crop = photograph[top:top + size, left:left + size]
        once, count = encoded(crop, first)
        twice, _ = encoded(once, second)
        length += count
        for place, (before, after) in enumerate(((crop, once), (once, twice))):
            squares[place] += ((after.astype(float) - before) ** 2).mean()
    return *np.sqrt(squares / crops), length / crops


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, nargs='?')
    parser.add_argument('target', type=Path, nargs='?')
    parser.add_argument('--quality', type=int, default=50)
    parser.add_argument('--first', type=int, help='quality of the first encoding of photographs')
    options = parser.parse_args(arguments)
    if (options.target is None) == (options.first is None):
        parser.error('give two folders, or --first')
    if options.first is not None:
        once, twice, length = on_photographs(options.first, options.quality)
        print(f'quality {options.first} ({length:.0f} bytes an image) changes a channel by '
              f'{once:.2f} of 255, quality {options.quality} after it by {twice:.2f} more '
              '(root mean square)')
        return 0
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
