"""Testing with images of classes that the model has never seen."""

import warnings
from typing import Sequence

import torch
from torch import Tensor

from ltcls.evaluation.shot_accuracy import ShotAccuracy
from ltcls.longtail import shot_groups
from ltcls.registry import METRICS

UNKNOWN = -1
VARIANTS = ('paper', 'corrected', 'textbook')


@METRICS.register_module()
class OpenSetAccuracy(ShotAccuracy):
    """Everything of ShotAccuracy on the known classes, and the open-set protocol of OLTR.

    A test image of an unknown class has the label -1 (see the data set `OpenSet`). An image whose
    confidence is below the threshold is rejected: its prediction becomes -1. Then the accuracies of
    known images are taken again, a rejected one being wrong, and an F-measure of all images.

    Logged beside the closed-set numbers: open_f (of the chosen variant, in [0, 1] as it is
    published), open_accuracy, open_many, open_medium and open_few in percent, and auroc, how often
    a known image has a higher confidence than an unknown one, in percent, without any threshold.
    In evaluation.json they stand under `open_set`, with all variants of F.

    Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, Sec. 4.1. The
    published rows use rule='oltr' and variant='paper'; see `f_measures` for the variants.

    Args:
        threshold: confidence below which an image is rejected, in [0, 1].
        variant: which F is logged: 'paper', 'corrected' or 'textbook'.
        options: of ShotAccuracy.

    Raises:
        ValueError: a threshold outside [0, 1] or an unknown variant.
    """

    def __init__(self, threshold: float = 0.1, variant: str = 'paper', rule='oltr', **options):
        super().__init__(rule=rule, **options)
        if not 0 <= threshold <= 1:
            raise ValueError(f'OpenSetAccuracy got threshold={threshold}; a confidence lies in '
                             '[0, 1], and OLTR uses 0.1.')
        if variant not in VARIANTS:
            raise ValueError(f"OpenSetAccuracy got variant='{variant}'; use one of "
                             f"{', '.join(VARIANTS)}.")
        self.threshold = threshold
        self.variant = variant

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Closed-set metrics of the known images and open-set metrics of all."""
        whole = {name: torch.cat([batch[name] for batch in results]).cpu() for name in results[0]}
        known = whole['labels'] != UNKNOWN
        if bool(known.all()):
            warnings.warn('OpenSetAccuracy got no image of an unknown class: give the test loader '
                          "the data set OpenSet with unknown= or held_out=.")
        metrics = super().compute_metrics([{name: values[known] for name, values in whole.items()}])
        self.record['open_set'] = found = measure_open_set(
            whole['labels'], whole['predictions'], whole['confidences'], self.threshold,
            self.dataset_meta['train_class_counts'], self.rule)
        metrics['open_f'] = found['f'][self.variant]['f']
        metrics['open_accuracy'] = found['accuracy']
        for name, value in found['groups'].items():
            metrics[f'open_{name}'] = value
        if found['auroc'] is not None:
            metrics['auroc'] = found['auroc']
        found['variant'] = self.variant
        return metrics


def measure_open_set(labels: Tensor, predictions: Tensor, confidences: Tensor, threshold: float,
                     class_counts: Sequence[int], rule: str | Sequence[int] = 'oltr') -> dict:
    """The open-set part of a record.

    Args:
        labels: int64 [N], -1 for an unknown class.
        predictions: int64 [N], the most confident class.
        confidences: its probability [N].
        threshold: below it an image is rejected.
        class_counts: training images a class, for the groups.
        rule: of the groups, as in `ltcls.longtail.shot_groups`.

    Returns:
        threshold; images: known and unknown; rejected: how many of each; accuracy and groups: of
        the known images with rejection, in percent; f: precision, recall and f of each variant, in
        [0, 1]; auroc in percent, None without images of both kinds.
    """
    answers = torch.where(confidences < threshold, UNKNOWN, predictions)
    known = labels != UNKNOWN
    right = (answers == labels)[known].double()
    totals = torch.bincount(labels[known], minlength=len(class_counts)).double()
    by_class = torch.bincount(labels[known], weights=right, minlength=len(class_counts)) / totals
    groups = {}
    for name, members in shot_groups(class_counts, rule).items():
        tested = [c for c in members if totals[c] > 0]
        if tested:
            groups[name] = 100 * float(by_class[tested].mean())
    return dict(
        threshold=threshold,
        images=dict(known=int(known.sum()), unknown=int((~known).sum())),
        rejected=dict(known=int((answers == UNKNOWN)[known].sum()),
                      unknown=int((answers == UNKNOWN)[~known].sum())),
        accuracy=100 * float(right.mean()), groups=groups,
        f=f_measures(labels, answers),
        auroc=auroc(confidences[known], confidences[~known]))


def f_measures(labels: Tensor, answers: Tensor) -> dict[str, dict[str, float]]:
    """Precision, recall and F = 2PR / (P + R) in the three readings that are in use.

    Right known answers are the true positives TP, accepted unknown images the false negatives of
    the first two. Wrong are, for 'paper', known images taken for another known class: rejected ones
    count nowhere (the OLTR code of 2019 and its descendants); for 'corrected' all known images
    without the right answer (that code since 2020). P = TP / (TP + wrong),
    R = TP / (TP + accepted unknown). 'textbook' has TP over all accepted images as precision and TP
    over all known images as recall, the micro-average over the known classes.

    Args:
        labels, answers: int64 [N], -1 for unknown and rejected.

    Returns:
        {variant: dict(precision, recall, f)}, each in [0, 1]; 0 where nothing is right.
    """
    known, accepted = labels != UNKNOWN, answers != UNKNOWN
    right = int((known & (answers == labels)).sum())
    mistaken = int((known & accepted & (answers != labels)).sum())
    missed = int((known & ~accepted).sum())
    intruders = int((~known & accepted).sum())
    ratios = dict(paper=(right + mistaken, right + intruders),
                  corrected=(right + mistaken + missed, right + intruders),
                  textbook=(right + mistaken + intruders, right + mistaken + missed))
    found = {}
    for variant, (claimed, wanted) in ratios.items():
        precision, recall = right / max(claimed, 1), right / max(wanted, 1)
        both = precision + recall
        found[variant] = dict(precision=precision, recall=recall,
                              f=2 * precision * recall / both if both else 0.0)
    return found


def auroc(known: Tensor, unknown: Tensor) -> float | None:
    """Share of pairs in which the known image has the higher confidence, ties half, in percent."""
    if len(known) == 0 or len(unknown) == 0:
        return None
    ordered = unknown.sort().values
    below = torch.searchsorted(ordered, known, right=False).double()
    not_above = torch.searchsorted(ordered, known, right=True).double()
    return 100 * float((below + not_above).mean()) / 2 / len(unknown)
