"""Class activation maps: which part of an image speaks for a class."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ltcls.datasets.files import read_rgb
from ltcls.datasets.open_set import UNKNOWN
from ltcls.models.heads import CosineHead

from .runs import Run, build_dataset, load_model
from .style import INK, literal, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ActivationMaps(NamedTuple):
    """Of one image."""

    maps: Tensor       # [C, h, w]; their means are the logits but for bias and adjustment
    logits: Tensor     # [C]


@torch.no_grad()
def activation_maps(model, inputs: Tensor) -> ActivationMaps:
    """What each place of the last feature map adds to each class's logit.

    M_c(x, y) = sum_k w_ck f_k(x, y), for a cosine head with the row and the image's feature at unit
    length, times the scale. The logits are those of the model.

    Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, Eq. 2.

    Args:
        model: in eval mode.
        inputs: one preprocessed image [1, channels, H, W].

    Raises:
        ValueError: a head without one row a class, or features that are not the spatial mean of a
            feature map, as of a transformer.
    """
    rows = getattr(model.head, 'weight', None)
    if not isinstance(rows, Tensor) or rows.dim() != 2 or len(rows) != len(model.class_counts):
        raise ValueError(f'{type(model.head).__name__} has no row for each class, so there are no '
                         'class activation maps.')
    seen: list[Tensor] = []
    handles = [module.register_forward_hook(
        lambda module, inputs, output: seen.append(output) if isinstance(output, Tensor)
        and output.dim() == 4 else None) for module in model.backbone.modules()]
    try:
        features = model.extract(inputs)
    finally:
        for handle in handles:
            handle.remove()
    fitting = [m for m in seen if m.shape[1] == features.shape[1] and torch.allclose(
        m.float().mean(dim=(2, 3)), features, rtol=1e-3, atol=1e-4)]
    if not fitting:
        raise ValueError(f'The features of {type(model.backbone).__name__} are not the spatial '
                         'mean of a feature map, so there are no class activation maps.')
    # Of those that fit, the one with the most places: pooling leaves a map of one place.
    places = max(fitting, key=lambda m: m.shape[2] * m.shape[3]).float()[0]
    rows = rows.float()
    if isinstance(model.head, CosineHead):
        length = torch.linalg.vector_norm(features).clamp(min=1e-12)
        rows = model.head.scale * F.normalize(rows) / length
    scales = getattr(model.head, 'scales', None)
    if scales is not None:
        rows = scales[:, None] * rows
    maps = torch.einsum('ck,kxy->cxy', rows, places)
    return ActivationMaps(maps, model.logits(features)[0])


def write_activation_maps(run: Run, images: Sequence[str], path: Path,
                          data_root: str | None = None, device: str = 'cpu') -> Path:
    """Write a picture with a row for each image: it, the map of its class, that of the answer.

    Args:
        images: numbers of test images, or image files; a file has no true class.

    Raises:
        ValueError: no such test image, or what `activation_maps` raises.
        FileNotFoundError: no such file.
    """
    model = load_model(run, device)
    dataset = build_dataset(run, 'test', data_root)
    rows = []
    for text in images:
        pixels, label = _image(dataset, text)
        batch = dict(inputs=pixels[None].to(device), labels=torch.zeros(1, dtype=torch.int64))
        found = activation_maps(model, model.data_preprocessor(batch, False)['inputs'])
        rows.append((text, pixels, label, found))
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(plot_activation_maps(rows, [row['name'] for row in run.record['per_class']],
                                     run.record['name']), path)


@styled()
def plot_activation_maps(rows: Sequence[tuple], classes: Sequence[str], name: str) -> 'Figure':
    """Rows of (title, uint8 [channels, H, W], label or None, ActivationMaps)."""
    figure = new_figure(8.4, 0.7 + 2.7 * len(rows))
    panels = figure.subplots(len(rows), 3, squeeze=False)
    for line, (title, pixels, label, found) in zip(panels, rows):
        shares = found.logits.softmax(0)
        guess = int(shares.argmax())
        picture = pixels.permute(1, 2, 0).expand(-1, -1, 3).numpy()
        height, width = picture.shape[:2]
        for axes in line:
            axes.imshow(picture, interpolation='nearest', extent=(0, width, height, 0))
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
        line[0].set_title(f'image {literal(title)}')
        highest = float(found.maps.abs().max())
        for axes, c, what in ((line[1], label, 'true class'), (line[2], guess, 'answer')):
            if c is None:
                axes.set_visible(False)
                continue
            map_c = F.interpolate(found.maps[c][None, None].cpu(), (height, width),
                                  mode='bilinear', align_corners=False)[0, 0]
            axes.imshow(map_c.numpy(), cmap='RdBu_r', alpha=0.55, vmin=-highest, vmax=highest,
                        extent=(0, width, height, 0))
            axes.set_title(f'{what}: {literal(classes[c])}, {100 * float(shares[c]):.0f}%')
    figure.suptitle(f'{literal(name)}: red speaks for the class, blue against it', x=0.01,
                    ha='left', fontsize=11, color=INK)
    return figure


def _image(dataset, text: str) -> tuple[Tensor, int | None]:
    """Pixels uint8 [channels, H, W] as the test pipeline makes them, and the label if known."""
    if text.lstrip('-').isdigit():
        index = int(text)
        if not 0 <= index < len(dataset):
            raise ValueError(f'--cam {index}: the test set has images 0 to {len(dataset) - 1}.')
        sample = dataset[index]
        label = int(sample['labels'])
        return sample['inputs'].cpu(), None if label == UNKNOWN else label
    if not Path(text).is_file():
        raise FileNotFoundError(f'--cam {text}: neither a file nor the number of a test image.')
    from torchvision.transforms.v2 import functional as transforms
    like = dataset[0]['inputs']
    picture = read_rgb(text) if len(like) == 3 else read_rgb(text).convert('L')
    pipeline = getattr(dataset, 'known', dataset).pipeline
    if pipeline is not None:
        picture = pipeline(picture)
    pixels = picture if isinstance(picture, Tensor) else transforms.pil_to_tensor(picture)
    if pixels.shape != like.shape:
        pixels = transforms.resize(pixels, list(like.shape[1:]), antialias=True)
    return pixels, None
