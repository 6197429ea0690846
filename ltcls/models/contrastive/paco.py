"""GPaCo: classes as further keys of a contrast of images."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor, nn

from ltcls.registry import MODELS

from ..mixing import MixedLabels
from .views import ContrastiveClassifier

EMPTY = -1      # the label of a place in the queue that nothing has filled yet


def parametric_contrast(logits: Tensor, anchors: Tensor, labels: Tensor, queue: Tensor,
                        queue_labels: Tensor, temperature: float, alpha: float) -> Tensor:
    """The parametric contrastive loss of each anchor, [N].

    The keys of an anchor are the classes, with its adjusted logits, and all other anchors and the
    queue, with their cosines over the temperature. The loss is the cross-entropy of the softmax
    over all of them with a target of 1 at the anchor's class and alpha at every image of that
    class, scaled to the sum 1.

    Cui et al., Generalized Parametric Contrastive Learning, TPAMI 2024.

    Args:
        logits: of the anchors, with the log prior, [N, C].
        anchors: unit vectors [N, d].
        labels: of the anchors, int64 [N].
        queue, queue_labels: earlier unit vectors [K, d] and their labels [K], -1 for none.
        temperature: of the cosines.
        alpha: weight of an image beside that of the class.
    """
    similar = anchors @ torch.cat([anchors, queue]).T / temperature
    of = torch.cat([labels, queue_labels])
    itself = torch.eye(len(anchors), len(of), dtype=torch.bool, device=labels.device)
    absent = itself | (of == EMPTY)
    logs = torch.cat([logits, similar.masked_fill(absent, -torch.inf)], dim=1).log_softmax(dim=1)
    classes = logits.size(1)
    positive = (labels[:, None] == of) & ~itself
    images = logs[:, classes:].masked_fill(~positive, 0).sum(dim=1)
    own = logs.gather(1, labels[:, None])[:, 0]
    return -(own + alpha * images) / (1 + alpha * positive.sum(dim=1))


@MODELS.register_module()
class GPaCoClassifier(ContrastiveClassifier):
    """A classifier whose classes are keys of a contrast between all views and a queue of images.

    Every view of an image is an anchor of `parametric_contrast`; the loss of an image is their mean.
    The vectors are normalised projections of the features. After each batch those of the last view
    move into the queue, on several ranks of all of them. In testing there is one view and the
    logits alone.

    Cui et al., Generalized Parametric Contrastive Learning, TPAMI 2024; after the authors' code,
    without its label smoothing. The queue begins empty, not with random vectors.

    Images are contrasted with those of one rank and one micro-batch, or of one class where an optim
    wrapper asks class by class; then nothing moves into the queue.

    Args:
        alpha: weight of an image of the same class, beside 1 for the class; at least 0.
        temperature: of the cosines, positive.
        queue: images that are kept, at least 0.
        dim: length of the vectors.
        options: see `Classifier`; the loss is BalancedSoftmaxLoss or LogitAdjustedLoss, whose
            adjusted logits are those of the classes.

    Raises:
        ValueError: a value outside these; another loss; in training, images without a second view,
            mixed ones, or logits in place of the head's.
    """

    queue: Tensor
    queue_labels: Tensor

    def __init__(self, *args, alpha: float = 0.05, temperature: float = 0.2, queue: int = 8192,
                 dim: int = 128, **options):
        super().__init__(*args, **options)
        if alpha < 0 or temperature <= 0 or queue < 0:
            raise ValueError(f'GPaCoClassifier got alpha={alpha}, temperature={temperature}, '
                             f'queue={queue}; alpha and queue are at least 0 and the temperature '
                             'is positive.')
        if not hasattr(self.loss, 'adjusted'):
            raise ValueError(f'GPaCoClassifier: {type(self.loss).__name__} adjusts no logits: set '
                             "model.loss.type='BalancedSoftmaxLoss'.")
        self.alpha, self.temperature = alpha, temperature
        width = self.backbone.num_features
        self.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True),
                                       nn.Linear(width, width), nn.ReLU(inplace=True),
                                       nn.Linear(width, dim))
        self.register_buffer('queue', torch.zeros(queue, dim))
        self.register_buffer('queue_labels', torch.full((queue,), EMPTY))

    def losses(self, features: Tensor, labels: Tensor | MixedLabels, weights: Tensor | None = None,
               index: Tensor | None = None, head: dict[str, Tensor] | None = None,
               logits: Tensor | None = None) -> Tensor:
        """As `Classifier.losses`, of the features of all views [B, V * D]."""
        if logits is not None:
            raise ValueError('GPaCoClassifier evaluates its head at every view, so a closed form of '
                             'the logits does not hold: use another wrapper than CCSAM.')
        views = self.views(features, labels)
        chosen = slice(None) if index is None else index
        count, own = views.size(1), labels[chosen]
        flat = views[chosen].transpose(0, 1).flatten(0, 1)          # one view after the other
        with torch.autocast(features.device.type, enabled=False):
            vectors = F.normalize(self.projector(flat))
            losses = parametric_contrast(
                self.loss.adjusted(self.logits(flat, head)), vectors, own.repeat(count),
                self.queue, self.queue_labels, self.temperature, self.alpha)
        if self.training and index is None:
            self._enqueue(vectors[-len(own):].detach(), own)
        factor = self.factor(labels, weights)
        losses = losses.view(count, -1).mean(dim=0)
        return losses if factor is None else losses * factor[chosen]

    def _enqueue(self, vectors: Tensor, labels: Tensor) -> None:
        # New tensors: the backward pass still needs the old ones.
        size = len(self.queue_labels)
        self.queue = torch.cat([*all_gather(vectors), self.queue])[:size]
        self.queue_labels = torch.cat([*all_gather(labels), self.queue_labels])[:size]
