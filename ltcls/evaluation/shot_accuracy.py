"""The metric every config uses."""

from typing import Any, Sequence

import torch
from mmengine.dist import all_gather, get_world_size
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ltcls.evaluation.scores import flat_metrics, measure
from ltcls.registry import METRICS


@METRICS.register_module()
class ShotAccuracy(BaseMetric):
    """Accuracy overall and over classes with many, medium and few training images, in percent.

    Logs accuracy, top5, many, medium, few, balanced_accuracy and ece. An empty group is absent,
    never 0, and so is top5 of five classes or fewer, which any prediction would meet. The whole
    result of the last evaluation is kept as `record`: the measured part of evaluation.json.

    The classes' training counts come from `dataset_meta['train_class_counts']`, where LongTailHook
    puts them before validation and testing. Each test image counts exactly once under any number
    of ranks.

    Args:
        rule: what many, medium and few mean, as in `ltcls.longtail.shot_groups`.
        topk: the k of the top-k accuracy, or several, as [3, 5].
        bins: equal-width bins of the calibration error.
        prefix: put before every logged name, as 'prefix/accuracy'.
    """

    default_prefix = ''

    def __init__(self, rule: str | Sequence[int] = 'counts', topk: int | Sequence[int] = 5,
                 bins: int = 15, prefix: str | None = None):
        super().__init__(prefix=prefix)
        self.topk = [topk] if isinstance(topk, int) else list(topk)
        if min([bins, *self.topk]) < 1:
            raise ValueError(f'ShotAccuracy got topk={topk}, bins={bins}; each must be at least 1.')
        self.rule = rule
        self.bins = bins
        self.record: dict | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep four numbers an image, on its device; nothing here waits for the device.

        Args:
            data_batch: not used.
            data_samples: dicts of a batch each, with `scores`, softmax probabilities [B, C], and
                `labels`, int64 [B].
        """
        for batch in data_samples:
            scores, labels = batch['scores'], batch['labels']
            confidences, predictions = scores.max(1)
            kept = dict(labels=labels, predictions=predictions, confidences=confidences.float())
            sizes = [k for k in self.topk if k < scores.size(1)]
            if sizes:
                hits = scores.topk(max(sizes), dim=1).indices == labels[:, None]
                # Among tied scores topk may leave out the one that max has found.
                kept.update({f'top{k}': hits[:, :k].any(1) | (predictions == labels)
                             for k in sizes})
            self.results.append(kept)

    def evaluate(self, size: int) -> dict:
        """Metrics of the whole test set, equal on every rank.

        Raises:
            RuntimeError: fewer predictions than test images, or ranks with unequal shares.
        """
        kept = self.results[:]
        self.results.clear()
        if not kept:
            raise RuntimeError('ShotAccuracy got no predictions: the test loader is empty.')
        whole = {name: _whole(torch.cat([batch[name] for batch in kept]), size) for name in kept[0]}
        metrics = self.compute_metrics([whole])
        if self.prefix:
            metrics = {f'{self.prefix}/{name}': value for name, value in metrics.items()}
        return metrics

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Metrics of kept batches, each image in them once; also sets `record`."""
        meta = self.dataset_meta or {}
        if meta.get('train_class_counts') is None:
            raise RuntimeError('ShotAccuracy knows no training class counts: keep LongTailHook in '
                               'default_hooks, and test a checkpoint that was trained with ltcls.')
        counts = [int(n) for n in meta['train_class_counts']]
        whole = {name: torch.cat([batch[name] for batch in results]).cpu() for name in results[0]}
        self.record = measure(
            whole['labels'], whole['predictions'], whole['confidences'],
            {k: whole[f'top{k}'] for k in self.topk if f'top{k}' in whole},
            classes=meta.get('classes') or [str(c) for c in range(len(counts))],
            class_counts=counts, rule=self.rule, bins=self.bins)
        return flat_metrics(self.record)


def _whole(mine: Tensor, size: int) -> Tensor:
    """All ranks' values in the order of the data set, without the padding at its end.

    With W ranks, rank r holds the images r, r + W, r + 2W, ...; a sampler fills up the last round
    with images that were already there, and these come after the first `size`.
    """
    whole = mine
    if get_world_size() > 1:
        lengths = torch.stack(all_gather(torch.tensor(len(mine), device=mine.device))).tolist()
        if len(set(lengths)) > 1:
            raise RuntimeError(f'The ranks evaluated {lengths} images, not equal shares: use a '
                               'test sampler with round_up=True.')
        whole = torch.stack(all_gather(mine.contiguous()), dim=1).flatten()
    if len(whole) < size:
        raise RuntimeError(f'Only {len(whole)} of {size} test images were evaluated: the test '
                           'loader must not drop the last batch or cut the data.')
    return whole[:size]
