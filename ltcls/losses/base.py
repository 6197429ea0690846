"""The interface of every loss."""

from torch import Tensor

from ltcls.longtail import LongTailModule


class LongTailLoss(LongTailModule):
    """One number per sample. No reduction, no weights, no device code, no epoch arguments.

    `logit_scale` is the scale of the head's logits (1 for linear heads, 30 for
    `CosineHead(scale=30)`), set by the classifier: margins are written in cosine units and
    multiplied by it. With `uses_features` the forward also receives `features` [B, D]. With
    `takes_experts` it receives the logits of all experts [B, E, C]; any other loss is given those
    of each expert [B, C], and the results are added.
    """

    logit_scale: float = 1.0
    uses_features: bool = False
    takes_experts: bool = False

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits float32 [B, C] ([B, E, C] with `takes_experts`), labels int64 [B] -> losses [B]."""
        raise NotImplementedError
