"""Any classifier of torchvision as a backbone."""

from pathlib import Path
from typing import Sequence

from torch import Tensor, nn

from ltcls.registry import MODELS


@MODELS.register_module()
class TorchvisionBackbone(nn.Module):
    """A torchvision classifier without its last linear layer.

    Args:
        name: a name of `torchvision.models.list_models()`, e.g. 'resnet50'.
        weights: None, or torchvision's name of pretrained weights, e.g. 'IMAGENET1K_V1' or
            'DEFAULT'; downloaded by torchvision on first use.
        load: whether the weights are loaded; otherwise the network is the one that they belong to,
            with random values.
        redrawn: parts that keep no pretrained weights, by path, e.g. ['layer4.2'].
        options: further arguments of the torchvision builder.

    Raises:
        ValueError: an unknown name or part, or a model that does not end in a linear layer.
        OSError: weights that are not there, with where they were looked for and how to get them.
    """

    unloaded = dict(load=False)      # what a config sets to do without weights

    def __init__(self, name: str, weights: str | None = None, load: bool = True,
                 redrawn: Sequence[str] = (), **options):
        super().__init__()
        from torchvision import models
        if name not in models.list_models(module=models):
            raise ValueError(f"torchvision has no classifier '{name}'; "
                             '`torchvision.models.list_models()` shows the names.')
        arguments = options if weights is None else {**_implied(name, weights), **options}
        load = load and weights is not None
        self.model = (self._load(name, weights, options) if load
                      else models.get_model(name, **arguments))
        if redrawn:
            self._redraw(redrawn, models.get_model(name, **arguments) if load else self.model)
        path, last = [(path, m) for path, m in self.model.named_modules()
                      if not list(m.children())][-1]
        if not isinstance(last, nn.Linear):
            raise ValueError(f"torchvision's '{name}' does not end in a linear layer but in "
                             f'{type(last).__name__}; use a timm model instead (TimmBackbone).')
        self.num_features = last.in_features
        parent, _, child = path.rpartition('.')
        setattr(self.model.get_submodule(parent), child, nn.Identity())

    @staticmethod
    def _load(name: str, weights: str, options: dict) -> nn.Module:
        from torch import hub
        from torchvision import models
        try:
            return models.get_model(name, weights=weights, **options)
        except OSError as error:
            url = models.get_model_weights(name)[weights].url
            folder = Path(hub.get_dir()) / 'checkpoints'
            raise OSError(f"The weights '{weights}' of torchvision's {name} are not in {folder}, "
                          f'and the download failed ({error}). Put {url} there, or set '
                          'model.backbone.weights=None to do without.') from error

    def _redraw(self, redrawn: Sequence[str], fresh: nn.Module) -> None:
        for path in redrawn:
            try:
                part = fresh.get_submodule(path)
            except AttributeError:
                raise ValueError(f"TorchvisionBackbone: redrawn names '{path}', which the model "
                                 'does not have.') from None
            self.model.get_submodule(path).load_state_dict(part.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> features [B, num_features]."""
        features = self.model(x)
        # GoogLeNet and Inception return their auxiliary logits too while training.
        return getattr(features, 'logits', features)


def _implied(name: str, weights: str) -> dict:
    """The arguments of a builder that torchvision takes from the weights, beside the values."""
    from torchvision import models
    size = models.get_model_weights(name).verify(weights).meta.get('min_size')
    if name.startswith('vit_'):
        return dict(image_size=size[0])
    if name == 'maxvit_t':
        return dict(input_size=size)
    return dict(googlenet=dict(transform_input=True, aux_logits=False),
                inception_v3=dict(transform_input=True)).get(name, {})
