"""The loss of a trained model as a function of its weights."""

from contextlib import contextmanager
from typing import Iterator, NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

SCOPES = ('weights', 'backbone', 'head', 'all')


class Measured(NamedTuple):
    """Of each image, at the current weights."""

    losses: Tensor      # float64 [N]
    correct: Tensor     # float64 [N], 1 where the answer is right


class LossSurface:
    """Cross-entropy of fixed images as a function of the weights, in eval mode.

    The logits are those of testing (a cosine head's with its scale, several experts' averaged), the
    loss is plain cross-entropy whatever the model was trained with, and weight decay is left out.
    So models can be compared, as far as their scales of logits allow.

    Means are taken over classes first: of some classes, the mean of their mean losses. On a
    balanced set that is the mean over images.

    Args:
        model: a classifier in eval mode.
        inputs: uint8 [N, channels, H, W].
        labels: int64 [N].
        batch_size: images a pass; changes memory and speed only.
        scope: which parameters are moved: 'weights' (of two and more dimensions: convolutions,
            linear layers, prompts, but no biases and no norm layers), 'backbone' or 'head' (such
            weights of that part), or 'all' parameters.

    Raises:
        ValueError: an unknown scope, or one without parameters.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int = 250,
                 scope: str = 'weights'):
        if scope not in SCOPES:
            raise ValueError(f"scope='{scope}' must be one of {', '.join(SCOPES)}.")
        self.model, self.scope = model, scope
        self.device = next(model.parameters()).device
        self.inputs, self.labels, self.batch_size = inputs, labels.cpu(), batch_size
        self.named = {name: p for name, p in model.named_parameters()
                      if scope == 'all' or (p.dim() > 1 and (
                          scope == 'weights' or name.startswith(f'{scope}.')))}
        if not self.named:
            raise ValueError(f"scope='{scope}' finds no parameters in this model.")
        self.params = list(self.named.values())

    def evaluate(self) -> Measured:
        """Loss and success of every image at the current weights."""
        losses, correct = [], []
        with torch.no_grad():
            for index in torch.arange(len(self.labels)).split(self.batch_size):
                logits, labels = self._logits(index), self.labels[index].to(self.device)
                losses.append(F.cross_entropy(logits, labels, reduction='none').double().cpu())
                correct.append((logits.argmax(1) == labels).double().cpu())
        return Measured(torch.cat(losses), torch.cat(correct))

    @torch.no_grad()
    def loss(self, classes: Sequence[int]) -> float:
        """The mean loss of these classes."""
        return sum(float(part) for part in self._parts(classes))

    def gradient(self, classes: Sequence[int]) -> list[Tensor]:
        """Gradient of the mean loss of these classes by each parameter."""
        total = [torch.zeros_like(p) for p in self.params]
        for loss in self._parts(classes):
            for sums, part in zip(total, torch.autograd.grad(
                    loss, self.params, materialize_grads=True)):
                sums += part
        return total

    def hessian_product(self, vector: Tensor, classes: Sequence[int]) -> Tensor:
        """The Hessian of the mean loss of these classes times a vector [P] of all parameters.

        P counts the entries of the parameters in scope, in their order. Attention takes the kernel
        that has a second derivative.
        """
        pieces = unflatten(vector, self.params)
        total = torch.zeros_like(vector)
        with sdpa_kernel(SDPBackend.MATH):
            for loss in self._parts(classes):
                slopes = torch.autograd.grad(loss, self.params, create_graph=True,
                                             materialize_grads=True)
                along = sum((slope * piece).sum() for slope, piece in zip(slopes, pieces))
                second = torch.autograd.grad(along, self.params, materialize_grads=True)
                total += flatten(second)
        return total

    def _logits(self, index: Tensor) -> Tensor:
        batch = dict(inputs=self.inputs[index.to(self.inputs.device)], labels=self.labels[index])
        logits = self.model(self.model.data_preprocessor(batch, False)['inputs'])
        return logits.mean(dim=1) if logits.dim() == 3 else logits

    def _parts(self, classes: Sequence[int]) -> Iterator[Tensor]:
        """The mean loss of these classes as a sum of terms, one a batch."""
        weights = image_weights(self.labels, classes)
        for index in weights.nonzero()[:, 0].split(self.batch_size):
            logits, labels = self._logits(index), self.labels[index].to(self.device)
            losses = F.cross_entropy(logits, labels, reduction='none')
            yield (losses * weights[index].to(losses)).sum()


def image_weights(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """What each image counts in the mean over these classes of their means, float64 [N].

    Raises:
        ValueError: none of the classes has an image.
    """
    chosen = torch.zeros(int(labels.max()) + 1, dtype=torch.bool)
    known = [c for c in classes if c < len(chosen)]
    chosen[known] = True
    counts = torch.bincount(labels, minlength=len(chosen))
    present = int((chosen & (counts > 0)).sum())
    if not present:
        raise ValueError(f'None of the classes {list(classes)} has an image.')
    return torch.where(chosen, 1 / (counts.clamp(min=1).double() * present), 0.0)[labels]


@contextmanager
def moved(params: Sequence[Tensor], offsets: Sequence[Tensor]) -> Iterator[None]:
    """Inside, the parameters are moved by the offsets; then they are again what they were."""
    before = [p.detach().clone() for p in params]
    try:
        with torch.no_grad():
            for p, offset in zip(params, offsets):
                p += offset
        yield
    finally:
        with torch.no_grad():
            for p, old in zip(params, before):
                p.copy_(old)


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All entries in one vector [P]."""
    return torch.cat([t.reshape(-1) for t in tensors])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The vector [P] cut into the shapes of `like`."""
    pieces = vector.split([t.numel() for t in like])
    return [piece.view(t.shape) for piece, t in zip(pieces, like)]
