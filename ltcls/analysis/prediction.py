"""The classes of new images, by the model of a finished run."""

import csv
import os
from functools import partial
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ltcls.analysis.runs import Run, load_model
from ltcls.datasets.decoding import check_backend, fast_reader, pipeline_for
from ltcls.datasets.files import EXTENSIONS, check_file, read_rgb, walk
from ltcls.datasets.loading import collate_batch
from ltcls.datasets.transforms import build_pipeline, to_tensor
from ltcls.registry import DATASETS

SHOWN = 5       # bad images that a message names


class Prediction(NamedTuple):
    """The likeliest classes of one image, the first one first."""

    path: str
    classes: list[str]
    probabilities: list[float]


class NewImages(Dataset):
    """Image files without labels, through the pipeline that a run tests with.

    A sample is dict(inputs=uint8 [channels, H, W]).

    Args:
        paths: of the files.
        run: whose config says pipeline, backend and channels.

    Raises:
        ValueError: in `__getitem__`; an image of another size than a run without a pipeline takes.
    """

    def __init__(self, paths: Sequence[str], run: Run):
        node = run.config['test_dataloader']['dataset']
        node = node.get('known', node)
        backend = node.get('backend', 'pil')
        check_backend(backend)
        self.paths = list(paths)
        self.grey = len(run.config['data_preprocessor']['mean']) == 1
        self.read = read_rgb if backend == 'pil' or self.grey else fast_reader(backend)
        self.pipeline = build_pipeline(pipeline_for(node.get('pipeline') or (), backend))
        size = getattr(DATASETS.get(node['type']), 'image_size', None)
        self.shape = None if size is None or self.pipeline else (size, size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = self.read(self.paths[index])
        if self.grey:
            image = image.convert('L')
        tensor = to_tensor(image if self.pipeline is None else self.pipeline(image))
        shape = tuple(tensor.shape[-2:])
        if self.pipeline is None:
            self.shape = self.shape or shape
        if self.shape and shape != self.shape:
            raise ValueError(
                f'{self.paths[index]} is {shape[1]}x{shape[0]}, and the run takes images of '
                f'{self.shape[1]}x{self.shape[0]} as they are: bring it to that size.')
        tensor.source = self.paths[index]
        return dict(inputs=tensor)


def find_images(places: Sequence[str | Path]) -> list[str]:
    """Image files, and those in folders at any depth, each once, in the order given.

    Raises:
        FileNotFoundError, ValueError: a place that is not there or holds no image; files that are
            no readable images.
    """
    found = []
    for place in map(str, places):
        if os.path.isdir(place):
            inside = [os.path.join(place, name) for name in walk(place, '', [])]
            if not inside:
                raise ValueError(f'{place} holds no image; names end in {", ".join(EXTENSIONS)}.')
            found += inside
        elif os.path.isfile(place):
            found.append(place)
        else:
            raise FileNotFoundError(f'There is no image or folder {place}.')
    found = list(dict.fromkeys(found))
    bad = [f'{path} ({problem})' for path in found if (problem := check_file(path)) is not None]
    if bad:
        more = f' and {len(bad) - SHOWN} more' if len(bad) > SHOWN else ''
        raise ValueError(f"{len(bad)} of {len(found)} images cannot be read: "
                         f"{', '.join(bad[:SHOWN])}{more}. Remove them.")
    return found


@torch.no_grad()
def predict(run: Run, paths: Sequence[str], top: int = 1, batch_size: int = 64,
            workers: int = 0) -> Iterator[Prediction]:
    """The `top` likeliest classes of each image, with their probabilities (softmax, float32).

    On a GPU if there is one. The names are those of the run's record.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = load_model(run, device)
    names = [row['name'] for row in run.record['per_class']]
    top = min(top, len(names))
    loader = DataLoader(NewImages(paths, run), batch_size=batch_size, num_workers=workers,
                        collate_fn=partial(collate_batch, key=None))
    done = 0
    for batch in loader:
        [found] = model(**model.data_preprocessor(batch, False), mode='predict')
        probabilities, labels = found['scores'].topk(top, dim=1)
        for values, classes in zip(probabilities.tolist(), labels.tolist()):
            yield Prediction(paths[done], [names[label] for label in classes], values)
            done += 1


def write_predictions(predictions: Sequence[Prediction], path: Path) -> None:
    """One CSV line an image: path, class, probability, and again for the next likeliest."""
    top = len(predictions[0].classes) if predictions else 1
    columns = ['path']
    for place in range(1, top + 1):
        number = '' if place == 1 else str(place)
        columns += [f'class{number}', f'probability{number}']
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8', errors='surrogateescape') as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for one in predictions:
            pairs = zip(one.classes, (f'{value:.6f}' for value in one.probabilities))
            writer.writerow([one.path, *(cell for pair in pairs for cell in pair)])
