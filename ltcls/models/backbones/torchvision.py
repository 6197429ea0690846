"""Any classifier of torchvision as a backbone."""

from torch import Tensor, nn

from ltcls.registry import MODELS


@MODELS.register_module()
class TorchvisionBackbone(nn.Module):
    """A torchvision classifier without its last linear layer.

    Args:
        name: a name of `torchvision.models.list_models()`, e.g. 'resnet50'.
        weights: None, or torchvision's name of pretrained weights, e.g. 'IMAGENET1K_V1' or
            'DEFAULT'; downloaded by torchvision on first use.
        options: further arguments of the torchvision builder.

    Raises:
        ValueError: an unknown name, or a model that does not end in a linear layer.
    """

    def __init__(self, name: str, weights: str | None = None, **options):
        super().__init__()
        from torchvision import models
        if name not in models.list_models(module=models):
            raise ValueError(f"torchvision has no classifier '{name}'; "
                             '`torchvision.models.list_models()` shows the names.')
        self.model = models.get_model(name, weights=weights, **options)
        path, last = [(path, m) for path, m in self.model.named_modules()
                      if not list(m.children())][-1]
        if not isinstance(last, nn.Linear):
            raise ValueError(f"torchvision's '{name}' does not end in a linear layer but in "
                             f'{type(last).__name__}; use a timm model instead (TimmBackbone).')
        self.num_features = last.in_features
        parent, _, child = path.rpartition('.')
        setattr(self.model.get_submodule(parent), child, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> features [B, num_features]."""
        features = self.model(x)
        # GoogLeNet and Inception return their auxiliary logits too while training.
        return getattr(features, 'logits', features)

