"""Any model of timm as a backbone."""

from torch import Tensor, nn

from ltcls.registry import MODELS

from .timm_hub import from_hub


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """A timm model without its classifier; features are pooled as timm pools them.

    Args:
        name: a name of `timm.list_models()`, e.g. 'vit_base_patch16_224.augreg_in21k'.
        pretrained: load timm's weights, downloaded by timm on first use.
        checkpoint: a local weight file to load instead; its classifier is left out.
        options: further arguments of `timm.create_model`, e.g. img_size.

    Raises:
        ValueError: an unknown name, or a checkpoint that lacks weights of the model.
        OSError: weights that are neither in timm's cache nor can be downloaded.
    """

    # What a config sets to do without weights.
    unloaded = dict(pretrained=False, checkpoint=None)

    def __init__(self, name: str, pretrained: bool = False, checkpoint: str | None = None,
                 **options):
        super().__init__()
        import timm
        if not timm.is_model(name):
            raise ValueError(f"timm has no model '{name}'; `timm.list_models()` shows the names.")
        self.model = (from_hub(name, 'checkpoint', **options) if pretrained
                      else timm.create_model(name, num_classes=0, **options))
        if checkpoint is not None:
            self._load(checkpoint)
        # Some models (MobileNetV3 and kin) widen the features after pooling.
        self.num_features = getattr(self.model, 'head_hidden_size', self.model.num_features)

    def _load(self, checkpoint: str) -> None:
        from timm.models import load_checkpoint
        unmatched = load_checkpoint(self.model, checkpoint, strict=False, weights_only=True)
        # timm returns nothing for the .npz files of Google's ViTs, which it checks by itself.
        if unmatched is not None and unmatched.missing_keys:
            raise ValueError(f'{checkpoint} lacks {len(unmatched.missing_keys)} weights of this '
                             f"model, the first is '{unmatched.missing_keys[0]}'.")

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> features [B, num_features]."""
        return self.model(x)
