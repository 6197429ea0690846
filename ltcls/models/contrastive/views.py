"""What the classifiers that contrast views of an image share."""

from torch import Tensor

from ..classifier import Classifier
from ..mixing import MixedLabels


class ContrastiveClassifier(Classifier):
    """A classifier that trains on views [B, V, 3, H, W] of each image and is tested on the image.

    The features of an image's views stand in a row, [B, V * D]; a subclass takes them apart in
    `losses`.
    """

    def extract(self, inputs: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> [B, D]; views [B, V, 3, H, W] -> theirs in a row [B, V * D]."""
        if inputs.dim() == 4:
            return super().extract(inputs)
        return super().extract(inputs.flatten(0, 1)).view(len(inputs), -1)

    def logits(self, features: Tensor, head: dict[str, Tensor] | None = None) -> Tensor:
        """The logits [B, C] of the first view, of features [B, V * D]; `head` as in `losses`."""
        return super().logits(features[:, :self.backbone.num_features], head)

    def views(self, features: Tensor, labels: Tensor | MixedLabels) -> Tensor:
        """Features [B, V * D] -> [B, V, D].

        Raises:
            ValueError: mixed images, or a single view of each.
        """
        name = type(self).__name__
        if isinstance(labels, MixedLabels):
            raise ValueError(f'{name} contrasts images of one class with others: set '
                             'data_preprocessor.mixing=None.')
        views = features.unflatten(1, (-1, self.backbone.num_features))
        if views.size(1) == 1:
            raise ValueError(f'{name} contrasts views of an image, and this batch has one: make '
                             "train_dataloader.dataset.pipeline end in dict(type='Views', "
                             'transforms=[...]), the first for the classifier.')
        return views
