"""What the features of a run look like: maps, distances of classes, norms of classifier rows."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from ltcls.evaluation.table import render

from .runs import (Images, Run, build_dataset, class_groups, draw_images, load_model,
                   read_numbers)

FILE_NAME = 'features.json'
FORMAT = 1


@dataclass
class FeatureOptions:
    """What is measured, and on how many images."""

    per_class: int | None = 100     # images a class of the training and of the test set; None: all
    seed: int = 0                   # of the images and of t-SNE
    batch_size: int = 250
    perplexity: float = 30.0
    tsne: bool = True

    def check(self) -> None:
        """ValueError for what cannot be measured."""
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(f'{self.per_class} images a class: give at least 1.')
        if self.batch_size < 1 or self.perplexity <= 0:
            raise ValueError(f'batch_size={self.batch_size}, perplexity={self.perplexity}: both '
                             'must be positive.')


def measure_features(run: Run, options: FeatureOptions, data_root: str | None = None,
                     device: str = 'cpu', command: str = '') -> dict:
    """Maps and distances of a run's features.

    Features are scaled to unit length first: a cosine classifier looks at nothing else, and so
    runs with other lengths of features stay comparable. Their mean length stands beside.

    Returns:
        JSON values: `points`, a row an image with split, index in the data set, label, prediction
        and coordinates on the maps; `maps`, their names and what they show; `classes`, a row a
        class. See docs/analysis.md.
    """
    options.check()
    started = time.time()
    model = load_model(run, device)
    features, labels, answers, points = [], [], [], []
    for split in ('train', 'test'):
        images = draw_images(build_dataset(run, split, data_root), options.per_class, options.seed)
        found, guesses = extract_features(model, images, options.batch_size)
        features.append(found)
        labels.append(images.labels)
        answers.append(guesses)
        points += [dict(split=split, index=int(i), label=int(label), prediction=int(guess))
                   for i, label, guess in zip(images.indices, images.labels, guesses)]
    unit = [f / torch.linalg.vector_norm(f, dim=1, keepdim=True).clamp(min=1e-12)
            for f in features]
    plane, shares = pca(torch.cat(unit))
    maps = dict(pca=dict(title='PCA', variance=shares))
    coordinates = dict(pca=plane)
    if options.tsne:
        coordinates['tsne'] = tsne(torch.cat(unit), options.perplexity, options.seed)
        maps['tsne'] = dict(title='t-SNE', perplexity=options.perplexity)
    for name, places in coordinates.items():
        for point, (x, y) in zip(points, places.tolist()):
            point[name] = [round(x, 4), round(y, 4)]
    rows = _class_rows(run.record, unit, features, labels, model)
    return dict(format=FORMAT, name=run.record['name'], method=run.record['method'],
                seed=run.record['seed'], epoch=run.record['epoch'], command=command,
                options=asdict(options), dimensions=features[0].shape[1], maps=maps,
                groups=_group_means(run.record, rows), classes=rows,
                seconds=round(time.time() - started, 1), points=points)


@torch.no_grad()
def extract_features(model, images: Images, batch_size: int = 250) -> tuple[Tensor, Tensor]:
    """Features, float64 [N, D], and predicted classes, int64 [N], on the CPU."""
    features, answers = [], []
    device = next(model.parameters()).device
    for index in torch.arange(len(images.labels)).split(batch_size):
        batch = dict(inputs=images.inputs[index].to(device), labels=images.labels[index])
        found = model.extract(model.data_preprocessor(batch, False)['inputs'])
        logits = model.logits(found)
        logits = logits.mean(dim=1) if logits.dim() == 3 else logits
        features.append(found.double().cpu())
        answers.append(logits.argmax(1).cpu())
    return torch.cat(features), torch.cat(answers)


def pca(features: Tensor) -> tuple[Tensor, list[float]]:
    """Coordinates [N, 2] on the first principal axes, and each axis's share of variance."""
    from sklearn.decomposition import PCA
    model = PCA(2)
    return torch.from_numpy(model.fit_transform(features)), model.explained_variance_ratio_.tolist()


def tsne(features: Tensor, perplexity: float = 30.0, seed: int = 0) -> Tensor:
    """Coordinates [N, 2] by t-SNE, started from PCA; at most a third of the images are neighbours.

    van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008; scikit-learn's.
    """
    from sklearn.manifold import TSNE
    perplexity = min(perplexity, max((len(features) - 1) / 3, 1.0))
    model = TSNE(2, perplexity=perplexity, init='pca', learning_rate='auto', random_state=seed)
    return torch.from_numpy(model.fit_transform(features.float().numpy())).double()


def class_distances(features: Tensor, labels: Tensor, num_classes: int) -> dict[str, Tensor]:
    """How wide each class is and how far from the others.

    Args:
        features: [N, D].
        labels: int64 [N].

    Returns:
        means [C, D]; within: mean distance of the class's images to its mean [C]; between: mean
        distance of its mean to those of the other classes [C]; nearest: distance to the closest of
        them [C], and which it is [C]. NaN (and -1) for a class without images.
    """
    counts = torch.bincount(labels, minlength=num_classes).to(features)
    sums = torch.zeros(num_classes, features.shape[1]).to(features)
    means = sums.index_add(0, labels, features) / counts[:, None]
    spread = torch.linalg.vector_norm(features - means[labels], dim=1)
    within = torch.zeros(num_classes).to(features).index_add(0, labels, spread) / counts
    apart = torch.cdist(means[None], means[None], compute_mode='donot_use_mm_for_euclid_dist')[0]
    apart.fill_diagonal_(torch.nan)
    known = ~apart.isnan()
    between = apart.nan_to_num(0).sum(1) / known.sum(1)
    nearest, which = apart.nan_to_num(torch.inf).min(dim=1)
    alone = ~known.any(dim=1)
    nearest[alone], which[alone] = torch.nan, -1
    return dict(means=means, within=within, between=between, nearest=nearest, nearest_class=which)


def row_norms(model) -> Tensor | None:
    """Length of each class's row of the classifier, [C]; None for a head without such rows."""
    weight = getattr(model.head, 'weight', None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or len(weight) != len(
            model.class_counts):
        return None
    return torch.linalg.vector_norm(weight.detach().double().cpu(), dim=1)


def _class_rows(record: dict, unit: Sequence[Tensor], features: Sequence[Tensor],
                labels: Sequence[Tensor], model) -> list[dict]:
    num_classes = len(record['per_class'])
    train, test = (class_distances(u, y, num_classes) for u, y in zip(unit, labels))
    norms = row_norms(model)
    lengths = []
    for found, y in zip(features, labels):
        counts = torch.bincount(y, minlength=num_classes)
        lengths.append(torch.bincount(y, weights=torch.linalg.vector_norm(found, dim=1),
                                      minlength=num_classes) / counts)
    shift = torch.linalg.vector_norm(train['means'] - test['means'], dim=1)
    names = [row['name'] for row in record['per_class']]
    rows = []
    for row in record['per_class']:
        c = row['index']
        rows.append(dict(
            index=c, name=row['name'], group=row['group'], train_count=row['train_count'],
            row_norm=None if norms is None else float(norms[c]),
            shift=_finite(shift[c]),
            **{split: dict(within=_finite(found['within'][c]), between=_finite(found['between'][c]),
                           nearest=_finite(found['nearest'][c]),
                           nearest_class=None if found['nearest_class'][c] < 0
                           else names[int(found['nearest_class'][c])],
                           length=_finite(length[c]))
               for split, found, length in zip(('train', 'test'), (train, test), lengths)}))
    return rows


def _group_means(record: dict, rows: Sequence[dict]) -> dict[str, dict]:
    """The mean over the classes of each group of every number, where a class has it."""
    def mean(values) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    groups = {'overall': [row['index'] for row in rows], **class_groups(record)}
    return {name: dict(
        row_norm=mean(rows[c]['row_norm'] for c in members),
        shift=mean(rows[c]['shift'] for c in members),
        **{split: {key: mean(rows[c][split][key] for c in members)
                   for key in ('within', 'between', 'nearest', 'length')}
           for split in ('train', 'test')})
        for name, members in groups.items()}


def _finite(value: Tensor) -> float | None:
    return float(value) if bool(torch.isfinite(value)) else None


def read_features(path: str | Path) -> dict:
    """Numbers from disk.

    Raises:
        FileNotFoundError, ValueError: no such file, or another kind of file.
    """
    return read_numbers(path, 'features', 'features', FORMAT, 'points')


def features_table(found: Sequence[dict], names: Sequence[str]) -> str:
    """Runs and groups, one a line: test features of unit length, and the classifier's rows."""
    rows = [['run', 'classes', 'within', 'nearest mean', 'nearest / within', 'train to test',
             'row norm', 'feature length']]
    for name, one in zip(names, found):
        for part, numbers in one['groups'].items():
            test = numbers['test']
            ratio = (test['nearest'] / test['within']
                     if test['nearest'] is not None and test['within'] else None)
            rows.append([name, part, *('-' if value is None else f'{value:.3f}' for value in (
                test['within'], test['nearest'], ratio, numbers['shift'], numbers['row_norm'],
                test['length']))])
    return render(rows)
