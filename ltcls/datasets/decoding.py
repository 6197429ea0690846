"""Who decodes and resizes photographs: Pillow, torchvision or OpenCV.

Published numbers were made with Pillow, whose resizing averages over the pixels that it merges. The
others decode faster, and OpenCV resizes faster too, without that averaging: their images differ
slightly. JPEG files alone take the fast way; another format, and a JPEG that the backend refuses,
is read by Pillow, which also words the error.
"""

import io
from contextlib import suppress
from functools import cache, partial
from typing import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ltcls.registry import TRANSFORMS

from .transforms import to_tensor

BACKENDS = ('pil', 'torchvision', 'opencv')
JPEG = b'\xff\xd8\xff'
# Transforms that a backend has of its own, by the name in a pipeline.
REPLACED = {'opencv': {'RandomResizedCrop': 'OpenCVRandomResizedCrop', 'Resize': 'OpenCVResize'}}


def pipeline_for(configs: Sequence, backend: str) -> list:
    """The configs of a pipeline, with the transforms that a backend does by itself."""
    names = REPLACED.get(backend, {})
    return [dict(config, type=names[config['type']])
            if isinstance(config, dict) and str(config.get('type')) in names else config
            for config in configs]


def check_backend(backend: str) -> None:
    """See to it that what a backend needs is installed.

    Raises:
        ImportError: it is not, with the remedy.
    """
    if backend == 'opencv':
        opencv()
    elif backend == 'torchvision':
        from torchvision import io as torchvision_io
        if not hasattr(torchvision_io, 'decode_jpeg'):
            raise ImportError("backend='torchvision' needs decode_jpeg, which this torchvision no "
                              "longer has: choose backend='opencv' or 'pil'.")


@cache
def fast_reader(backend: str) -> Callable[[str], Tensor]:
    """A function from a path to uint8 [3, H, W], RGB; an orientation in the file is left aside."""
    return partial(_read, dict(torchvision=_by_torchvision, opencv=_by_opencv)[backend])


def _read(decode: Callable[[bytes], Tensor | None], path: str) -> Tensor:
    from .files import read_rgb
    with open(path, 'rb') as file:
        data = file.read()
    image = decode(data) if data.startswith(JPEG) else None
    return to_tensor(read_rgb(io.BytesIO(data))) if image is None else image


def _by_torchvision(data: bytes) -> Tensor | None:
    from torchvision.io import ImageReadMode, decode_jpeg
    with suppress(RuntimeError):
        return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)


def _by_opencv(data: bytes) -> Tensor | None:
    cv2 = opencv()
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8),
                         cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is not None:
        return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)


@cache
def opencv():
    """The module cv2, with one thread: the workers of a loader are the parallelism."""
    try:
        import cv2
    except ImportError:
        raise ImportError("backend='opencv' needs OpenCV: pip install opencv-python-headless, or "
                          "choose backend='torchvision'.") from None
    cv2.setNumThreads(0)
    return cv2


class OpenCVTransform:
    """What the transforms below share: a size, and resizing by OpenCV."""

    def __init__(self, size: int | Sequence[int], interpolation: str):
        flags = dict(nearest='INTER_NEAREST', bilinear='INTER_LINEAR', bicubic='INTER_CUBIC',
                     area='INTER_AREA')
        if interpolation not in flags:
            raise ValueError(f"{type(self).__name__} got interpolation='{interpolation}'; known: "
                             f"{', '.join(flags)}.")
        self.flag = flags[interpolation]
        # As torchvision takes them, a list of one number is this number.
        self.size = size if isinstance(size, int) or len(size) != 1 else size[0]

    def resize(self, image: Tensor, height: int, width: int) -> Tensor:
        """uint8 [3, H, W] -> uint8 [3, height, width]."""
        cv2 = opencv()
        pixels = to_tensor(image).permute(1, 2, 0).numpy()
        if pixels.strides[1:] != (3, 1):        # OpenCV takes rows at any distance, but not pixels
            pixels = np.ascontiguousarray(pixels)
        resized = cv2.resize(pixels, (width, height), interpolation=getattr(cv2, self.flag))
        return torch.from_numpy(resized).permute(2, 0, 1)


@TRANSFORMS.register_module()
class OpenCVResize(OpenCVTransform):
    """torchvision's `Resize` by OpenCV, without averaging over merged pixels.

    Args:
        size: of the shorter side, or [height, width].
        interpolation: 'nearest', 'bilinear', 'bicubic' or 'area' (which averages).
    """

    def __init__(self, size: int | Sequence[int], interpolation: str = 'bilinear'):
        super().__init__(size, interpolation)

    def __call__(self, image) -> Tensor:
        """A tensor uint8 [3, H, W] or a PIL image -> uint8 [3, height, width]."""
        image = to_tensor(image)
        if not isinstance(self.size, int):
            return self.resize(image, *self.size)
        height, width = image.shape[-2:]
        long = int(self.size * max(height, width) / min(height, width))
        return self.resize(image, *((self.size, long) if height <= width else (long, self.size)))


@TRANSFORMS.register_module()
class OpenCVRandomResizedCrop(OpenCVTransform):
    """torchvision's `RandomResizedCrop` by OpenCV: the same boxes, without averaging pixels.

    Args:
        size: of the result, one number or [height, width].
        scale: range of the crop's share of the area.
        ratio: range of its width over its height.
        interpolation: 'nearest', 'bilinear', 'bicubic' or 'area' (which averages).
    """

    def __init__(self, size: int | Sequence[int], scale: Sequence[float] = (0.08, 1.0),
                 ratio: Sequence[float] = (3 / 4, 4 / 3), interpolation: str = 'bilinear'):
        super().__init__(size, interpolation)
        if isinstance(self.size, int):
            self.size = (self.size, self.size)
        self.scale, self.ratio = list(scale), list(ratio)

    def __call__(self, image) -> Tensor:
        """A tensor uint8 [3, H, W] or a PIL image -> uint8 [3, *size]."""
        from torchvision.transforms import RandomResizedCrop
        image = to_tensor(image)
        top, left, height, width = RandomResizedCrop.get_params(image, self.scale, self.ratio)
        return self.resize(image[:, top:top + height, left:left + width], *self.size)
