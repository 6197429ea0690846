"""A finished run as the analyses see it: its record and log, its model, its images."""

import copy
import json
import os
from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ltcls.datasets import collate_batch
from ltcls.engine.check import check_names
from ltcls.engine.checkpoint import check_fits, latest_checkpoint, read_checkpoint
from ltcls.engine.dry_run import unloaded
from ltcls.evaluation.record import read_record, training_log
from ltcls.evaluation.scores import GROUPS
from ltcls.evaluation.table import display_names
from ltcls.models import Classifier
from ltcls.registry import DATASETS, MODELS

# Weights come from the run's checkpoint; these would fetch others first, or change the numbers.
LEFT_OUT = ('precision', 'compile', 'cuda_graphs', 'frozen')


class Run(NamedTuple):
    """What a run has left in its folder."""

    folder: Path
    record: dict
    log: list[dict]

    @property
    def config(self) -> dict:
        return self.record['config']


class Images(NamedTuple):
    """Images as the test loader hands them over, ordered by class."""

    inputs: Tensor         # uint8 [N, channels, H, W]
    labels: Tensor         # int64 [N]
    indices: np.ndarray    # int64 [N], their places in the data set


def open_runs(folders: Sequence[str | Path]) -> list[Run]:
    """The runs in these folders.

    Raises:
        FileNotFoundError, ValueError: no folder; one without a record, or with a damaged one.
    """
    runs = []
    for folder in map(Path, folders):
        folder = folder.parent if folder.name == 'evaluation.json' else folder
        _check_folder(folder)
        runs.append(Run(folder, read_record(folder / 'evaluation.json'), training_log(folder)))
    return runs


def _check_folder(folder: Path) -> None:
    """Say what to do about a place that holds no record."""
    if folder.is_file():
        raise ValueError(f'{folder} is a file: name the folder of a run, such as {folder.parent}.')
    if not folder.is_dir():
        raise FileNotFoundError(f'There is no folder {folder}.')
    if (folder / 'evaluation.json').is_file():
        return
    newest = latest_checkpoint(folder)
    if newest is None:
        raise FileNotFoundError(f'{folder} holds neither a record, evaluation.json, nor a '
                                'checkpoint: name the folder of a finished run.')
    raise FileNotFoundError(
        f'{folder} holds {newest.name} and no record, evaluation.json: finish the run with '
        f'--resume, or record its newest checkpoint with `ltcls test CONFIG {folder} --work-dir '
        f'{folder}`, with the config and the options that it was begun with.')


def read_numbers(path: str | Path, kind: str, content: str, format_: int, key: str) -> dict:
    """What `ltcls analyze KIND` has written: `content`, with `key` in it.

    Raises:
        FileNotFoundError, ValueError: no such file, or another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no {path}: run `ltcls analyze {kind} {path.parent}`.')
    found = json.loads(path.read_text(encoding='utf-8'))
    if not isinstance(found, dict) or found.get('format') != format_ or key not in found:
        raise ValueError(f'{path} does not hold {content} of format {format_}: run `ltcls analyze '
                         f'{kind} {path.parent}` again.')
    return found


def run_names(runs: Sequence[Run]) -> list[str]:
    """A different name for each run: the method, with seed or folder where it takes that."""
    names = display_names([run.record for run in runs])
    for more in (lambda run: f"seed {run.record.get('seed')}", lambda run: str(run.folder)):
        if len(set(names)) == len(names):
            break
        repeated = {name for name in names if names.count(name) > 1}
        names = [f'{name} ({more(run)})' if name in repeated else name
                 for name, run in zip(names, runs)]
    return names


def load_model(run: Run, device: str | torch.device = 'cpu') -> Classifier:
    """The run's model with the weights of its newest checkpoint: float32, eval mode, all trainable.

    Raises:
        FileNotFoundError: no checkpoint in the folder.
        ValueError: a checkpoint of another model than the config describes; a name in the config
            that is not registered here.
    """
    _import_own(run)
    path = latest_checkpoint(run.folder)
    if path is None:
        raise FileNotFoundError(f'There is no checkpoint in {run.folder}: an analysis of weights '
                                'or features needs the whole folder of a run.')
    node = copy.deepcopy(run.config['model'])
    for name in LEFT_OUT:
        node.pop(name, None)
    node['backbone'].update(unloaded(node['backbone']))
    model = MODELS.build(dict(node, data_preprocessor=run.config['data_preprocessor']))
    content = read_checkpoint(path)
    check_fits(model, content, path)
    model.load_state_dict(content['state_dict'])
    model.to(device)
    model.bind(model.class_counts)
    return model.eval().requires_grad_(True)


def build_dataset(run: Run, split: str, data_root: str | None = None) -> Dataset:
    """The run's training or test set, its training set too without random transforms.

    Args:
        split: 'train' or 'test'; training images take the pipeline of the test images.
        data_root: folder of the data instead of the one in the config.
    """
    if split not in ('train', 'test'):
        raise ValueError(f"split='{split}' must be 'train' or 'test'.")
    _import_own(run)
    node = copy.deepcopy(run.config[f'{split}_dataloader']['dataset'])
    test = run.config['test_dataloader']['dataset']
    # An open set leaves its images to the known data set.
    images, test = node.get('known', node), test.get('known', test)
    if test.get('pipeline') is not None or images.get('pipeline') is not None:
        images['pipeline'] = test.get('pipeline') or []
    if data_root is not None:
        node['root'] = data_root
    return DATASETS.build(node)


def _import_own(run: Run) -> None:
    """Import what the run's config imports, and see that each name in it is known here.

    Raises:
        ValueError: a module that cannot be imported, a name that is not registered.
    """
    imports = run.config.get('custom_imports')
    try:
        if imports:
            import_modules_from_strings(**imports)
    except ImportError as error:
        raise ValueError(f'{run.folder}: custom_imports names a module that cannot be imported '
                         f'from here: {error}. Add its folder to PYTHONPATH.') from error
    check_names(Config(run.config))


def draw_images(dataset: Dataset, per_class: int | None, seed: int = 0) -> Images:
    """Up to `per_class` images of every class, the same ones for the same seed; None takes all.

    Raises:
        ValueError: more images than half of the machine's memory holds.
    """
    labels = np.asarray(dataset.labels)
    generator = np.random.RandomState(seed)
    chosen = []
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        if per_class is not None and len(members) > per_class:
            members = np.sort(generator.permutation(members)[:per_class])
        chosen.append(members)
    indices = np.concatenate(chosen)
    inputs, start = None, 0
    loader = DataLoader(dataset, batch_size=250, sampler=indices.tolist(), collate_fn=collate_batch)
    for batch in loader:
        images = batch['inputs'].cpu()
        if inputs is None:
            check_memory(len(indices), images[0].nbytes, len(chosen))
            inputs = images.new_empty(len(indices), *images.shape[1:])
        inputs[start:start + len(images)] = images
        start += len(images)
    return Images(inputs, torch.from_numpy(labels[indices].astype(np.int64)), indices)


def check_memory(images: int, size: int, classes: int, memory: int | None = None) -> None:
    """Refuse more images of `size` bytes than half of the memory holds (None: this machine's)."""
    if memory is None:
        try:
            memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        except (AttributeError, OSError, ValueError):      # not on Windows
            return
    if 2 * images * size > memory:
        fitting = max(memory // (2 * size * classes), 1)
        raise ValueError(f'{images:,} images take {images * size / 1e9:.1f} GB, more than half of '
                         f"this machine's memory: choose fewer, such as --images-per-class "
                         f'{fitting}.')


def class_groups(record: dict) -> dict[str, list[int]]:
    """The class indices of the record's groups, those with classes only."""
    found = {name: [row['index'] for row in record['per_class'] if row['group'] == name]
             for name in GROUPS}
    return {name: members for name, members in found.items() if members}
