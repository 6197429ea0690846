"""BCL: a classifier whose features also keep their class together and all classes apart."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltcls.registry import MODELS

from ..mixing import MixedLabels
from .views import ContrastiveClassifier


def balanced_contrast(anchors: Tensor, labels: Tensor, prototypes: Tensor, temperature: float
                      ) -> Tensor:
    """The balanced contrastive loss of each anchor, [N].

    With s_ij the cosine of i and j over the temperature, j among the other anchors and the
    prototypes, and N_c those of class c (the prototype too), the loss of anchor i of class y is the
    mean over the j of class y of

        -s_ij + log sum_{j != i} exp(s_ij) / (N_{y_j} - [y_j = y]).

    A class weighs as one in the sum, however many of its images are in the batch.

    Zhu et al., Balanced Contrastive Learning for Long-Tailed Visual Recognition, CVPR 2022.

    Args:
        anchors: unit vectors [N, d].
        labels: of the anchors, int64 [N].
        prototypes: a unit vector for each class, [C, d].
        temperature: of the cosines.
    """
    count, classes = len(anchors), len(prototypes)
    everything = torch.cat([anchors, prototypes])
    of = torch.cat([labels, torch.arange(classes, device=labels.device)])
    similar = anchors @ everything.T / temperature
    alike = labels[:, None] == of
    itself = torch.eye(count, count + classes, dtype=torch.bool, device=labels.device)
    members = torch.zeros(classes, device=labels.device).index_add(
        0, of, torch.ones(len(of), device=labels.device))
    # An anchor does not count among its own class; alone there, it is left out below.
    weight = (members[of] - (alike & ~itself).float()).log()
    log_sum = (similar - weight).masked_fill(itself, -torch.inf).logsumexp(dim=1)
    positive = alike & ~itself
    mean = (similar * positive).sum(dim=1) / positive.sum(dim=1)
    return log_sum - mean


@MODELS.register_module()
class BCLClassifier(ContrastiveClassifier):
    """A classifier on the first view of an image, with balanced contrast of the others.

    loss = classification * L(logits of the first view) + contrast * mean over the other views of
    `balanced_contrast`. The vectors are normalised projections of the features, the prototypes
    those of the classifier's rows by a projector of their own. L is BalancedSoftmaxLoss in the
    paper. In testing there is one view and no contrast.

    Zhu et al., Balanced Contrastive Learning for Long-Tailed Visual Recognition, CVPR 2022.

    Images are contrasted with those of one rank and one micro-batch, or of one class where an optim
    wrapper asks class by class. Class weights multiply L alone. The prototypes come from the
    classifier as it is, also where a wrapper perturbs the logits.

    Args:
        classification, contrast: factors of the two parts, at least 0.
        temperature: of the contrast, positive.
        hidden, dim: widths of the projectors' hidden layer and of what they project on.
        options: see `Classifier`.

    Raises:
        ValueError: a value outside these; a head without a row for each class; in training, images
            without a second view, or mixed ones.
    """

    def __init__(self, *args, classification: float = 1.0, contrast: float = 0.35,
                 temperature: float = 0.1, hidden: int = 512, dim: int = 128, **options):
        super().__init__(*args, **options)
        if classification < 0 or contrast < 0 or temperature <= 0:
            raise ValueError(f'BCLClassifier got classification={classification}, contrast='
                             f'{contrast}, temperature={temperature}; the factors are at least 0 '
                             'and the temperature is positive.')
        rows = getattr(self.head, 'weight', None)
        features = self.backbone.num_features
        if not isinstance(rows, Tensor) or rows.shape != (len(self.class_counts), features):
            raise ValueError(f'BCLClassifier: {type(self.head).__name__} has no row for each class '
                             "to make prototypes of: set model.head.type='LinearHead'.")
        self.classification, self.contrast = classification, contrast
        self.temperature = temperature
        self.projector = _projector(features, hidden, dim)
        self.prototype_projector = _projector(features, hidden, dim)

    def losses(self, features: Tensor, labels: Tensor | MixedLabels, weights: Tensor | None = None,
               index: Tensor | None = None, head: dict[str, Tensor] | None = None,
               logits: Tensor | None = None) -> Tensor:
        """As `Classifier.losses`, of the features of all views [B, V * D]."""
        views = self.views(features, labels)
        losses = super().losses(views[:, 0], labels, weights, index, head, logits)
        chosen = slice(None) if index is None else index
        contrast = self._contrast(views[chosen, 1:], labels[chosen])
        if weights is not None:
            contrast = contrast * weights[chosen]
        return self.classification * losses + self.contrast * contrast

    def _contrast(self, views: Tensor, labels: Tensor) -> Tensor:
        """[B] of the features of the views to contrast, [B, V, D]."""
        count = views.size(1)
        with torch.autocast(views.device.type, enabled=False):
            anchors = F.normalize(self.projector(views.transpose(0, 1).flatten(0, 1)))
            prototypes = F.normalize(self.prototype_projector(self.head.weight))
            losses = balanced_contrast(anchors, labels.repeat(count), prototypes, self.temperature)
        return losses.view(count, -1).mean(dim=0)


def _projector(features: int, hidden: int, dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, hidden), nn.BatchNorm1d(hidden),
                         nn.ReLU(inplace=True), nn.Linear(hidden, dim))
