"""Everything that is measured on a test set, as one plain dict."""

from typing import Sequence

import torch
from torch import Tensor

from ltcls.evaluation.calibration import reliability_bins
from ltcls.evaluation.intervals import wilson_interval
from ltcls.longtail import INDEX_RULES, SHOT_RULES, shot_groups

GROUPS = ('many', 'medium', 'few')
# Above this a confusion matrix costs more disk than it tells; the per-class numbers stay.
MAX_CONFUSION_CLASSES = 1000


def measure(labels: Tensor, predictions: Tensor, confidences: Tensor, in_top: dict[int, Tensor],
                *, classes: Sequence[str], class_counts: Sequence[int],
                rule: str | Sequence[int] = 'counts', bins: int = 15) -> dict:
    """The measured part of a run's record; every accuracy, confidence and error in percent.

    A group's accuracy is the mean of its classes' accuracies. A class without test images has
    accuracy None and takes part in no mean; a group without classes is absent.

    Args:
        labels: int64, shape [N].
        predictions: int64, shape [N].
        confidences: probability of the predicted class, floating, shape [N].
        in_top: for each k whether the label is among the k largest scores, bool, shape [N]; left
            out where there are no more than k classes and it would be true of every image.
        classes: names, length C.
        class_counts: training images a class, length C.
        rule: what many, medium and few mean, as in `ltcls.longtail.shot_groups`.
        bins: number of bins of the calibration error.

    Raises:
        ValueError: no images, names and counts of different length, a label outside the classes,
            or confidences that are not finite.
    """
    labels, predictions, confidences = (x.cpu() for x in (labels, predictions, confidences))
    classes, counts = list(classes), [int(n) for n in class_counts]
    _check(labels, predictions, confidences, classes, counts)
    num_classes = len(classes)

    confusion = None
    if num_classes <= MAX_CONFUSION_CLASSES:
        confusion = torch.bincount(labels * num_classes + predictions,
                                   minlength=num_classes**2).view(num_classes, -1).tolist()
    right = predictions == labels
    totals = torch.bincount(labels, minlength=num_classes).tolist()
    corrects = torch.bincount(labels[right], minlength=num_classes).tolist()
    groups = shot_groups(counts, rule)
    group_of = {c: name for name, members in groups.items() for c in members}
    per_class = [
        _class_scores(c, classes[c], counts[c], group_of[c], corrects[c], totals[c])
        for c in range(num_classes)
    ]

    overall = dict(images=len(labels), correct=int(right.sum()),
                   accuracy=100 * int(right.sum()) / len(labels))
    overall['low'], overall['high'] = _interval(overall['correct'], overall['images'])
    if in_top:
        overall['topk'] = [dict(k=k, accuracy=100 * int(hits.sum()) / len(labels))
                           for k, hits in sorted(in_top.items())]
    return dict(
        overall=overall,
        group_rule=describe_rule(rule, num_classes),
        groups={name: _group_scores([per_class[c] for c in groups[name]])
                for name in GROUPS if groups[name]},
        balanced_accuracy=mean_accuracy(per_class),
        rarest=_rarest(per_class),
        calibration=_calibration(labels, confidences, right, groups, bins),
        per_class=per_class,
        confusion=confusion)


def part_accuracy(scores: dict, part: str) -> float | None:
    """Percent of 'overall' or of a group; None where there is none."""
    found = scores['overall'] if part == 'overall' else scores['groups'].get(part, {})
    return found.get('accuracy')


def top_accuracies(overall: dict) -> dict[int, float]:
    """The top-k accuracies in percent by k, of the part `overall` of a record."""
    found = overall.get('topk', [])
    found = [found] if isinstance(found, dict) else found      # records of one k, made before
    return {entry['k']: entry['accuracy'] for entry in found}


def flat_metrics(scores: dict) -> dict[str, float]:
    """The numbers a log line holds, in percent; what does not exist (an empty group) is absent."""
    found = dict(accuracy=scores['overall']['accuracy'])
    found.update({f'top{k}': value for k, value in top_accuracies(scores['overall']).items()})
    found.update({name: group['accuracy'] for name, group in scores['groups'].items()})
    found['balanced_accuracy'] = scores['balanced_accuracy']
    found['ece'] = scores['calibration']['overall']['ece']
    return {name: value for name, value in found.items() if value is not None}


def describe_rule(rule: str | Sequence[int], num_classes: int) -> dict:
    """What many, medium and few mean under a rule of `ltcls.longtail.shot_groups`, in words."""
    if isinstance(rule, str) and rule in INDEX_RULES:
        medium, few = INDEX_RULES[rule][num_classes]
        return dict(name=rule, many=f'classes 0 to {medium - 1}',
                    medium=f'classes {medium} to {few - 1}',
                    few=f'classes {few} to {num_classes - 1}')
    if rule == 'thirds':
        third = 'third of the classes, by training images'
        return dict(name=rule, many=f'first {third}', medium=f'second {third}', few=f'last {third}')
    above, below = SHOT_RULES[rule] if isinstance(rule, str) else rule
    return dict(name=rule if isinstance(rule, str) else f'above {above}, below {below}',
                many=f'more than {above} training images',
                medium=f'{below} to {above} training images',
                few=f'fewer than {below} training images')


def _check(labels, predictions, confidences, classes, counts) -> None:
    if len(classes) != len(counts):
        raise ValueError(f'The test set has {len(classes)} classes, the training counts have '
                         f'{len(counts)}: test on the data set the model was trained for.')
    if len(labels) == 0:
        raise ValueError('No test images were evaluated; the test set or its loader is empty.')
    for name, values in dict(label=labels, prediction=predictions).items():
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= len(classes):
            wrong = low if low < 0 else high
            raise ValueError(f'A {name} of {wrong} is outside the {len(classes)} classes '
                             f'0 to {len(classes) - 1}; check the labels and num_classes.')
    broken = int((~confidences.isfinite()).sum())
    if broken:
        raise ValueError(f'The scores of {broken} of {len(labels)} test images are not finite: the '
                         'weights have diverged. Lower the learning rate, or clip the gradient.')


def _interval(correct: int, total: int) -> tuple[float | None, float | None]:
    if total == 0:
        return None, None
    low, high = wilson_interval(correct, total)
    return 100 * low, 100 * high


def _class_scores(index, name, train_count, group, correct, total) -> dict:
    low, high = _interval(correct, total)
    return dict(index=index, name=name, train_count=train_count, group=group, correct=correct,
                total=total, accuracy=100 * correct / total if total else None, low=low, high=high)


def mean_accuracy(rows: list[dict]) -> float | None:
    tested = [row['accuracy'] for row in rows if row['accuracy'] is not None]
    return sum(tested) / len(tested) if tested else None


def _group_scores(rows: list[dict]) -> dict:
    return dict(classes=len(rows), images=sum(row['total'] for row in rows),
                correct=sum(row['correct'] for row in rows), accuracy=mean_accuracy(rows))


def _rarest(per_class: list[dict]) -> dict:
    """The two tested classes with the fewest training images, rarest first; of equals the later."""
    tested = [row for row in per_class if row['total']]
    rows = sorted(tested, key=lambda row: (row['train_count'], -row['index']))[:2]
    return dict(classes=[row['index'] for row in rows], names=[row['name'] for row in rows],
                accuracies=[row['accuracy'] for row in rows], accuracy=mean_accuracy(rows))


def _calibration(labels, confidences, right, groups, bins) -> dict:
    """Overall, and for each group over the test images whose true class is in it."""
    def measured(chosen: Tensor) -> dict:
        found = reliability_bins(confidences[chosen], right[chosen], bins)
        rows = [dict(low=100 * m / bins, high=100 * (m + 1) / bins, images=int(found.images[m]),
                     confidence=100 * float(found.confidence[m]),
                     accuracy=100 * float(found.accuracy[m]))
                for m in range(bins)]
        return dict(ece=100 * found.error, images=int(chosen.sum()), bins=rows)

    overall = measured(torch.ones_like(right))
    by_group = {}
    for name in GROUPS:
        chosen = torch.isin(labels, torch.tensor(groups[name], dtype=torch.int64))
        if bool(chosen.any()):
            by_group[name] = measured(chosen)
    return dict(bins=bins, overall=overall, groups=by_group)
