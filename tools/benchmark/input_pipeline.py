"""How fast images come: from files at 224x224 by each backend, and from memory at 32x32.

Every variant makes the same finished batches, float32, normalised and on the GPU if there is one,
and is compared with the usual way: Pillow, torchvision's transforms image by image, floats from the
workers. Variants run in turn, round after round; a round's ratio divides the reference's time by
that of the block next to it, and the result is the median of the rounds with its quartiles.
Photographs are made by the script unless `--root` names a folder of class folders.

    python tools/benchmark/input_pipeline.py --rounds 9 --out docs/results/input_pipeline.json

`--workers 0 1 2` adds a table of loaders with that many processes.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from terminaltables import AsciiTable  # noqa: E402
from timing import interleaved, ratio, write_result  # noqa: E402
from torch.utils.data import DataLoader, Dataset, default_collate  # noqa: E402
from torchvision import transforms  # noqa: E402

from ltcls.commands.arguments import at_least  # noqa: E402
from ltcls.datasets import FolderLT, RandomImages, collate_batch, seed_worker  # noqa: E402
from ltcls.datasets.decoding import BACKENDS, check_backend  # noqa: E402
from ltcls.models import BatchPreprocessor  # noqa: E402

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PIPELINE = [dict(type='RandomResizedCrop', size=224), dict(type='RandomHorizontalFlip')]
REFERENCE = 'usual'
SIZE, QUALITY = (500, 375), 90      # of the photographs: about 60 kB each


class Usual(Dataset):
    """What a PyTorch tutorial does: Pillow images through torchvision's transforms, one by one."""

    def __init__(self, images, steps: list, opened: bool):
        self.images, self.opened = images, opened
        self.pipeline = transforms.Compose([
            *steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        image = self.images[index]
        return self.pipeline(image if self.opened else Image.open(image).convert('RGB')), 0


def make_photographs(folder: Path, count: int) -> None:
    """JPEG files with coarse shapes and fine texture, in two class folders."""
    rng = np.random.default_rng(0)
    for index in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        image = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC), dtype=np.int16)
        image = (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)
        path = folder / 'ab'[index % 2] / f'{index:04d}.jpg'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path, quality=QUALITY)


def available() -> list[str]:
    """The backends whose libraries are installed."""
    found = []
    for backend in BACKENDS:
        try:
            check_backend(backend)
            found.append(backend)
        except ImportError as error:
            print(f'left out: {error}')
    return found


def device() -> torch.device:
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def drained(loader: DataLoader, finish):
    """A block: every batch of a loader, made ready for the network."""
    def block():
        for batch in loader:
            finish(batch)
    return block


def moved(batch: list) -> list:
    """The usual batch, where the network is."""
    return [part.to(device(), non_blocking=True) for part in batch]


def from_files(root: str, options: argparse.Namespace, workers: int) -> dict:
    """{variant: block} over the images below a folder."""
    preprocessor = BatchPreprocessor(num_classes=2, mean=MEAN, std=STD).to(device())
    common = dict(batch_size=options.batch_size, num_workers=workers,
                  pin_memory=torch.cuda.is_available(), persistent_workers=workers > 0,
                  worker_init_fn=seed_worker if workers else None)
    blocks = {}
    for backend in available():
        data = FolderLT(root=root, backend=backend, pipeline=PIPELINE, verify='none')
        blocks[backend] = drained(DataLoader(data, collate_fn=collate_batch, **common),
                                  preprocessor)
    paths = [data.path(index) for index in range(len(data))]
    usual = Usual(paths, [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
                  opened=False)
    blocks[REFERENCE] = drained(DataLoader(usual, collate_fn=default_collate, **common), moved)
    return blocks


def decoding(root: str) -> dict:
    """{backend: block} that decodes every image and does nothing else."""
    def reading(data):
        def block():
            for index in range(len(data)):
                data.load_image(index)
        return block
    return {backend: reading(FolderLT(root=root, backend=backend, pipeline=PIPELINE,
                                      verify='none')) for backend in available()}


def from_memory(options: argparse.Namespace) -> dict:
    """{variant: block} over random images of 32x32 that are held in memory."""
    data = RandomImages(num_classes=10, num_images=options.small)
    preprocessor = BatchPreprocessor(num_classes=10, mean=MEAN, std=STD,
                                     augment=[dict(type='PadCropFlip', padding=4)])
    preprocessor.to(device())
    size = 4 * options.batch_size
    loader = DataLoader(data, batch_size=size, collate_fn=collate_batch)
    images = [Image.fromarray(data.load_image(index).permute(1, 2, 0).numpy())
              for index in range(len(data))]
    usual = Usual(images, [transforms.RandomCrop(32, padding=4),
                           transforms.RandomHorizontalFlip()], opened=True)
    return {'whole batches': drained(loader, lambda batch: preprocessor(batch, training=True)),
            REFERENCE: drained(DataLoader(usual, batch_size=size), moved)}


def figures(blocks: dict, reference: str, count: int, rounds: int) -> dict:
    """{variant: images a second, and the speed-up over the reference with its quartiles}."""
    times = interleaved(blocks, rounds)
    result = {}
    for name, block in times.items():
        low, middle, high = ratio(times[reference], block)
        result[name] = dict(
            images_a_second=round(count / statistics.median(wall for wall, _ in block), 1),
            speed_up=round(middle, 3), quartiles=[round(low, 3), round(high, 3)])
    return result


def measure(root: str, options: argparse.Namespace) -> dict:
    """{part: {variant: figures}}."""
    count = len(FolderLT(root=root, pipeline=PIPELINE, verify='none'))
    parts = {'decoding': figures(decoding(root), 'pil', count, options.rounds)}
    for workers in options.workers:
        parts[f'224x224, {workers} workers'] = figures(
            from_files(root, options, workers), REFERENCE, count, options.rounds)
    parts['32x32 in memory'] = figures(from_memory(options), REFERENCE, options.small,
                                       options.rounds)
    return parts


def table(parts: dict) -> str:
    """The figures as a text table."""
    rows = [('part', 'variant', 'images a second', 'speed-up', 'quartiles')]
    for part, variants in parts.items():
        for name, found in variants.items():
            rows.append((part, name, f"{found['images_a_second']:.0f}", f"{found['speed_up']:.2f}",
                         '{:.2f} to {:.2f}'.format(*found['quartiles'])))
    return AsciiTable(rows).table


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', help='class folders with photographs; made otherwise')
    parser.add_argument('--count', type=at_least(1), default=256, help='photographs that are made')
    parser.add_argument('--small', type=at_least(1), default=4096, help='images of 32x32')
    parser.add_argument('--batch-size', type=at_least(1), default=32)
    parser.add_argument('--workers', type=at_least(0), nargs='+', default=[0])
    parser.add_argument('--rounds', type=at_least(2), default=9)
    parser.add_argument('--threads', type=at_least(1), default=1, help='of the main process')
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.root is None:
            make_photographs(Path(folder), options.count)
        parts = measure(options.root or folder, options)
    result = dict(photographs=options.root or f'{options.count} made, {SIZE[0]}x{SIZE[1]}',
                  batch_size=options.batch_size, rounds=options.rounds, threads=options.threads,
                  parts=parts)
    print(table(parts))
    write_result(result, options.out)
    return result


if __name__ == '__main__':
    main()
