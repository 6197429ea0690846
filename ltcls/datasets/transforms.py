"""torchvision's v2 transforms under their own names, with words where Python wants an enumeration.

torchvision is imported when its first transform is checked or built: it takes as long to import as
torch.
"""

import inspect
from typing import Any, Callable, Literal, Sequence, get_type_hints

import torch
from torch import Tensor

from ltcls.registry import TRANSFORMS

TORCHVISION = (
    'AugMix', 'AutoAugment', 'CenterCrop', 'ColorJitter', 'Compose', 'ElasticTransform',
    'GaussianBlur', 'GaussianNoise', 'Grayscale', 'Identity', 'JPEG', 'Normalize', 'Pad', 'RGB',
    'RandAugment', 'RandomAdjustSharpness', 'RandomAffine', 'RandomApply', 'RandomAutocontrast',
    'RandomChannelPermutation', 'RandomChoice', 'RandomCrop', 'RandomEqualize', 'RandomErasing',
    'RandomGrayscale', 'RandomHorizontalFlip', 'RandomInvert', 'RandomOrder', 'RandomPerspective',
    'RandomPhotometricDistort', 'RandomPosterize', 'RandomResize', 'RandomResizedCrop',
    'RandomRotation', 'RandomShortestSize', 'RandomSolarize', 'RandomVerticalFlip', 'Resize',
    'ScaleJitter', 'ToDtype', 'ToImage', 'TrivialAugmentWide')
CONTAINERS = ('Compose', 'RandomApply', 'RandomChoice', 'RandomOrder', 'Views')    # of other transforms
# These skip or refuse PIL images.
TENSOR_ONLY = ('RandomErasing', 'Normalize', 'GaussianNoise', 'ToDtype')
DTYPES = ('uint8', 'int16', 'int32', 'int64', 'float16', 'bfloat16', 'float32', 'float64')


def _translate(key: str, value):
    """An argument as torchvision wants it: enumerations, types and nested transforms by name."""
    from torchvision.transforms import v2
    if key == 'interpolation' and isinstance(value, str):
        return v2.InterpolationMode(value)
    if key == 'policy' and isinstance(value, str):
        return v2.AutoAugmentPolicy(value)
    if key == 'dtype' and isinstance(value, str):
        return getattr(torch, value)
    if key == 'transforms':
        return [_build(config) for config in value]
    return value


def _build(config) -> Callable:
    return TRANSFORMS.build(config) if isinstance(config, dict) else config


def _find(name: str) -> type:
    from torchvision.transforms import v2
    if not hasattr(v2, name):
        raise ValueError(f"This torchvision has no transform '{name}'; install a newer one.")
    return getattr(v2, name)


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    """The arguments of a transform of torchvision, with what a config may write for them."""
    from torchvision.transforms.v2 import AutoAugmentPolicy, InterpolationMode

    transform = _find(name)
    hints = get_type_hints(transform.__init__)
    hints.update(dtype=Literal[DTYPES], transforms=list | tuple)
    hints['interpolation'] = Literal[tuple(mode.value for mode in InterpolationMode)] | int
    hints['policy'] = Literal[tuple(policy.value for policy in AutoAugmentPolicy)]
    hints['value'] = Any      # of RandomErasing: a list or 'random' too, despite its annotation
    return {key: parameter.replace(annotation=hints.get(key, Any))
            for key, parameter in inspect.signature(transform).parameters.items()}


def _builder(name: str) -> Callable:
    def build(**arguments):
        arguments = {key: _translate(key, value) for key, value in arguments.items()}
        return _find(name)(**arguments)

    # What `ltcls list` and a clash of names shall show as the origin.
    build.__name__ = build.__qualname__ = name
    build.__module__ = 'torchvision.transforms.v2'
    build.__doc__ = f'torchvision.transforms.v2.{name}, its arguments by name.'
    build.parameters = lambda: _parameters(name)
    return build


for _name in TORCHVISION:
    TRANSFORMS.register_module(name=_name, module=_builder(_name))


@TRANSFORMS.register_module()
class Cutout:
    """A square hole centred anywhere on the image, cut off at its border.

    DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
    torchvision's `RandomErasing` keeps its rectangle inside the image. Here it erases an image that
    was padded by half a hole, which is then cropped: every pixel is the centre equally often.

    Args:
        length: side of the square in pixels.
        num_holes: squares drawn one after another.
        value: of the erased pixels.
    """

    def __init__(self, length: int = 16, num_holes: int = 1, value: float = 0):
        if length < 1:
            raise ValueError(f'Cutout got length={length}; the side of the hole is at least 1.')
        self.length = length
        self.num_holes = num_holes
        self.value = value

    def __call__(self, image) -> Tensor:
        """An image uint8 or float [..., H, W], or a PIL image, -> a tensor of the same size."""
        from torchvision.transforms import v2
        image = to_tensor(image)
        height, width = image.shape[-2:]
        before = self.length // 2
        after = self.length - 1 - before
        share = self.length ** 2 / ((height + self.length - 1) * (width + self.length - 1))
        erase = v2.RandomErasing(p=1, scale=(share, share), ratio=(1, 1), value=self.value)
        padded = v2.functional.pad(image, [before, before, after, after])
        for _ in range(self.num_holes):
            padded = erase(padded)
        return padded[..., before:before + height, before:before + width]


@TRANSFORMS.register_module()
class SimAugment:
    """A view of an image for contrastive learning: another crop, side, colours and sharpness.

    A crop of 20 % to all of the area, mirrored half the time; brightness, contrast, saturation and
    hue jittered for 80 % of the images, colours left out for 20 %, blurred for 50 %.

    Chen et al., Improved Baselines with Momentum Contrastive Learning (MoCo v2), 2020.

    Args:
        size: of the view, in pixels.
    """

    def __init__(self, size: int):
        from torchvision.transforms import v2
        self.transform = v2.Compose([
            v2.RandomResizedCrop(size, scale=(0.2, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            # 13 pixels are three of the largest standard deviations to each side.
            v2.RandomApply([v2.GaussianBlur(kernel_size=13, sigma=(0.1, 2.0))], p=0.5)])

    def __call__(self, image):
        """An image [C, H, W] or a PIL image, -> the same kind, of the size."""
        return self.transform(image)


@TRANSFORMS.register_module()
class Views:
    """Several views of one image, for methods that contrast them; the last of a pipeline.

    Args:
        transforms: by name, one for each view; several in a row are a 'Compose'.
    """

    def __init__(self, transforms: Sequence[dict]):
        self.transforms = [_build(config) for config in transforms]

    def __call__(self, image) -> Tensor:
        """An image [C, H, W], or a PIL image, -> views [V, C, H, W].

        Raises:
            ValueError: views of different shapes.
        """
        views = [to_tensor(transform(image)) for transform in self.transforms]
        shapes = [list(view.shape) for view in views]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f'Views makes views of the shapes {shapes}: let every transform end in '
                             'the same size.')
        return torch.stack(views)


def to_tensor(image) -> Tensor:
    """A plain tensor [3, H, W] from a PIL image, an image tensor of torchvision, or a tensor."""
    if not isinstance(image, Tensor):
        from torchvision.transforms.v2 import functional
        image = functional.pil_to_tensor(image)
    return image.as_subclass(Tensor)


def build_pipeline(configs: Sequence) -> Callable | None:
    """One function of an image from configs of transforms in order; None where there are none.

    PIL images become tensors before the first transform that would leave them untouched.

    Raises:
        ValueError: arguments that a transform cannot take, with its place in the pipeline.
    """
    if not configs:
        return None
    from torchvision.transforms import v2
    steps, converted = [], False
    for index, config in enumerate(configs):
        name = config.get('type') if isinstance(config, dict) else type(config).__name__
        converted = converted or name in ('ToImage', 'Cutout')
        if not converted and _tensor_only(config):
            steps.append(to_tensor)
            converted = True
        try:
            steps.append(_build(config))
        except (TypeError, ValueError) as error:
            raise ValueError(f'pipeline[{index}] ({name}): {error}') from error
    return v2.Compose(steps)


def _tensor_only(config) -> bool:
    """Whether a transform, or one inside it, would leave PIL images untouched."""
    if not isinstance(config, dict):
        return type(config).__name__ in TENSOR_ONLY
    return config.get('type') in TENSOR_ONLY or config.get('type') in CONTAINERS and any(
        _tensor_only(inside) for inside in config.get('transforms') or ())
