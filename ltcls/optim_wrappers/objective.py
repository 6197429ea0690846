"""The loss of one mini-batch as a function of the current weights."""

from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from ltcls.longtail import Clock

from .norm_statistics import still_buffers


class Objective:
    """The loss of one mini-batch as a function of the current weights.

    Evaluates the bare model (not its distributed wrapper), in the model's precision, on a batch
    that is preprocessed once: the mixed images stay the same. Noise, dropout and the like are
    drawn afresh each time; the first time like in a hook's pass that the batch has the `draws` of.
    Only the first evaluation of an iteration moves batch-norm statistics and other buffers, and
    writes `logs`.

    Args:
        model: a classifier; `model(**batch, mode='loss')` returns a dict with losses [B].
        batch: what the model's preprocessor hands over, with `inputs` and `labels`.
    """

    def __init__(self, model: nn.Module, batch: dict):
        self.model = model
        self.batch = batch
        self.logs: dict = {}
        self._moved: set[str] = set()

    @property
    def labels(self) -> Tensor:
        """Int64 [B]; under mixing the first label of each pair."""
        labels = self.batch['labels']
        return labels if isinstance(labels, Tensor) else labels.first

    @property
    def class_counts(self) -> Tensor:
        """Training images a class, float64 [C]."""
        return self.model.class_counts

    @property
    def clock(self) -> Clock:
        return self.model.clock

    @property
    def head(self) -> nn.Module:
        return self.model.head

    def __call__(self) -> Tensor:
        """Losses [B] at the current weights; without the model's own backward."""
        with self._evaluation('features', 'head', 'loss'):
            losses = self.model(**self.batch, mode='loss')
        # A pass that was made before the step serves the first evaluation alone.
        self.batch.pop('losses', None)
        self.batch.pop('draws', None)
        self._log(losses)
        return sum(value for name, value in losses.items() if 'loss' in name)

    def features(self) -> Tensor:
        """Features [B, D] at the current weights."""
        with self._evaluation('features'), self._drawn():
            return self.model.extract(self.batch['inputs'])

    def logits(self, features: Tensor, head: dict[str, Tensor] | None = None) -> Tensor:
        """Logits of the head for features [B, D]; `head` as in `losses`."""
        with still_buffers(self.model.head):
            return self.model.logits(features, head)

    def losses(self, features: Tensor, index: Tensor | None = None,
               head: dict[str, Tensor] | None = None, logits: Tensor | None = None,
               first_label: bool = False) -> Tensor:
        """Losses [B], or of the samples in `index`, from features [B, D]; the head only.

        Args:
            head: replacements of head parameters, by name.
            logits: to be used instead of the head's.
            first_label: under mixing, the loss of the first label alone.
        """
        labels = self.labels if first_label else self.batch['labels']
        with self._evaluation('head', 'loss'), self._drawn():
            losses = self.model.losses(features, labels, self.batch.get('weights'),
                                       index=index, head=head, logits=logits)
        self.batch.pop('draws', None)
        if index is None:
            self._log(dict(loss=losses))
        return losses

    def losses_at(self, parameters: dict[str, Tensor], index: Tensor,
                  first_label: bool = False) -> Tensor:
        """Losses of the samples in `index` from a forward pass of these samples alone.

        Args:
            parameters: replacements of the model's parameters, by name.
        """
        with still_buffers(self.model):
            return torch.func.functional_call(
                _Part(self), {f'model.{name}': value for name, value in parameters.items()},
                (index, first_label))

    def _drawn(self):
        """A context that draws what a hook's pass has drawn, in parts one after the other."""
        draws = self.batch.get('draws')
        return nullcontext() if draws is None else draws.again()

    def _log(self, losses: dict) -> None:
        if not self.logs:
            _, self.logs = self.model.parse_losses(
                {name: value.detach() for name, value in losses.items()})

    @contextmanager
    def _evaluation(self, *parts: str):
        """The first evaluation of these parts moves the model's buffers; later ones do not."""
        first = self._moved.isdisjoint(parts)
        self._moved.update(parts)
        with nullcontext() if first else still_buffers(self.model):
            yield


class _Part(nn.Module):
    """The losses of some samples as one forward, which `functional_call` needs."""

    def __init__(self, objective: Objective):
        super().__init__()
        self.model = objective.model
        self.objective = objective
        # A new module is in training mode; nothing below it changes its own.

    def forward(self, index: Tensor, first_label: bool) -> Tensor:
        batch = self.objective.batch
        features = self.model.extract(batch['inputs'][index])
        # `losses` picks the samples by itself: class weights look at the whole batch.
        padded = features.new_zeros(len(batch['inputs']), features.size(1))
        labels = self.objective.labels if first_label else batch['labels']
        return self.model.losses(padded.index_copy(0, index, features), labels,
                                 batch.get('weights'), index=index)
