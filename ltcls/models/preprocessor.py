"""From a batch of the loader to what the network sees: device, augmentation, scaling, mixing."""

from typing import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from ltcls.registry import MODELS, TRANSFORMS


@TRANSFORMS.register_module()
class PadCropFlip(nn.Module):
    """Random crop out of the padded image and random horizontal flip, a whole batch at once.

    The batch form of torchvision's `RandomCrop(size, padding)` and `RandomHorizontalFlip(flip)`:
    each image draws its own offset and flip. One gather along flat pixels does both, four times as
    fast as indexing rows and columns.

    Args:
        padding: pixels added on each side.
        flip: probability of a mirror image.
        mode: 'zeros' or 'reflect'.
    """

    batched = True      # draws for each image of a batch, as `data_preprocessor.augment` needs it

    def __init__(self, padding: int = 4, flip: float = 0.5, mode: str = 'zeros'):
        super().__init__()
        if mode not in ('zeros', 'reflect'):
            raise ValueError(f"PadCropFlip mode='{mode}' must be 'zeros' or 'reflect'.")
        self.padding, self.flip, self.mode = padding, flip, mode

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] of any type -> the same shape and type."""
        count, channels, height, width = images.shape
        device, pad = images.device, self.padding
        top, left = torch.randint(0, 2 * pad + 1, (2, count, 1), device=device)
        mirrored = torch.rand(count, 1, device=device) < self.flip
        rows = top + torch.arange(height, device=device)
        columns = torch.arange(width, device=device)
        columns = left + torch.where(mirrored, columns.flip(0), columns)
        if self.mode == 'zeros':
            padded = F.pad(images, (pad, pad, pad, pad))
        else:
            padded = F.pad(images.float(), (pad, pad, pad, pad), mode='reflect').to(images.dtype)
        pixels = (rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]).flatten(1)
        index = pixels[:, None].expand(count, channels, height * width)
        cropped = padded.flatten(2).gather(2, index).view_as(images)
        if channels > 1:
            return cropped
        # The strides of channels-last memory: convolutions round by them, and so do recorded runs.
        return cropped.view(count, height, width, 1).permute(0, 3, 1, 2)


@MODELS.register_module()
class BatchPreprocessor(BaseDataPreprocessor):
    """Move a batch to the model's device, augment, scale to [0, 1], normalise and mix it.

    Augmentation and mixing happen in training only.

    Args:
        num_classes: number of classes; stated here once, the classifier reads it from here.
        mean, std: per channel, for pixels scaled to [0, 1].
        augment: transforms of uint8 batches [B, C, H, W] by name, e.g. dict(type='PadCropFlip').
            A class with the attribute `batched = True` draws for each image; others, such as
            torchvision's, would draw once for all, and belong into a data set's pipeline.
        mixing: Mixup, CutMix or BilateralPairs by name, or None.
        channels_last: hand the images over in channels-last memory, which is faster on most
            hardware; set by the classifier's switch of the same name.

    Raises:
        ValueError: not one positive std a channel, or a transform that is not of batches.
    """

    def __init__(self, num_classes: int, mean: Sequence[float], std: Sequence[float],
                 augment: Sequence[dict] = (), mixing: dict | None = None,
                 channels_last: bool = False):
        super().__init__(non_blocking=True)      # the host goes on while a batch is copied
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(f'mean={mean} and std={std} need one positive std a channel.')
        self.num_classes = num_classes
        steps = [TRANSFORMS.build(cfg) for cfg in augment]
        for cfg, step in zip(augment, steps):
            if not getattr(step, 'batched', False):
                raise ValueError(
                    f"data_preprocessor.augment holds {cfg['type']}, which draws once for a whole "
                    'batch: move it to train_dataloader.dataset.pipeline, or set batched=True in '
                    'its class if it draws for each image.')
        self.augment = nn.Sequential(*steps)
        self.mixing = None if mixing is None else MODELS.build(mixing)
        self.channels_last = channels_last
        shape = (1, len(mean), 1, 1)
        scale = torch.tensor(std, dtype=torch.float64).reciprocal() / 255
        shift = torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        self.register_buffer('scale', scale.float().view(shape), persistent=False)
        self.register_buffer('shift', shift.float().view(shape), persistent=False)

    def forward(self, data: dict, training: bool = False, mix: bool = True) -> dict:
        """Batch dict(inputs [B, C, H, W] uint8, labels [B], ...) -> the same, float32 inputs.

        Views [B, V, C, H, W] are augmented one by one and stay views.
        Labels are int64 [B], or MixedLabels after mixing; `mix=False` leaves mixing out. A batch
        that a hook has prepared before, under 'prepared', is handed over as it is.

        Raises:
            TypeError: images that are not uint8.
            ValueError: images of another number of channels than `mean`.
        """
        if 'prepared' in data:
            return data['prepared']
        batch = self.cast_data(data)
        images = batch['inputs']
        views = images.shape[:-3]           # [B], or [B, V]
        images = images.flatten(0, -4)
        if images.dtype != torch.uint8:
            raise TypeError('BatchPreprocessor takes uint8 images, this batch holds '
                            f'{images.dtype}: it normalises by data_preprocessor.mean and std '
                            'itself. Drop Normalize and ToDtype from the dataset pipeline, or end '
                            "it with dict(type='ToDtype', dtype='uint8', scale=True).")
        if images.size(1) != self.scale.size(1):
            raise ValueError(f'data_preprocessor.mean and std are of {self.scale.size(1)} channels, '
                             f'and the images have {images.size(1)}: give one number a channel.')
        if training:
            images = self.augment(images)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        images = (images * self.scale).sub_(self.shift)
        batch['inputs'] = images.contiguous(memory_format=layout).unflatten(0, views)
        if training and mix and self.mixing is not None:
            batch = self.mixing(batch)
        return batch
