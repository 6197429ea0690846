"""Any model of timm as a backbone."""

from torch import Tensor, nn

from ltcls.registry import MODELS


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """A timm model without its classifier; features are pooled as timm pools them.

    Args:
        name: a name of `timm.list_models()`, e.g. 'vit_base_patch16_224.augreg_in21k'.
        pretrained: load timm's weights, downloaded by timm on first use.
        checkpoint: a local weight file to load instead.
        options: further arguments of `timm.create_model`, e.g. img_size.

    Raises:
        ValueError: an unknown name.
    """

    def __init__(self, name: str, pretrained: bool = False, checkpoint: str | None = None,
                 **options):
        super().__init__()
        import timm
        if not timm.is_model(name):
            raise ValueError(f"timm has no model '{name}'; `timm.list_models()` shows the names.")
        self.model = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
        if checkpoint is not None:
            timm.models.load_checkpoint(self.model, checkpoint, strict=False)
        # Some models (MobileNetV3 and kin) widen the features after pooling.
        self.num_features = getattr(self.model, 'head_hidden_size', self.model.num_features)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> features [B, num_features]."""
        return self.model(x)
