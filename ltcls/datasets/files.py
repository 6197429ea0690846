"""Images that lie in files: finding them, checking them, reading them as RGB."""

import os
import warnings
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from .base import DataError, LongTailDataset
from .decoding import BACKENDS, check_backend, fast_reader, pipeline_for
from .paths import PathTable, find_absent

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
# The last bytes of a complete file; a format without an entry is decoded to be checked.
ENDINGS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND'}
TAIL = 64
SEVERAL = ('GIF', 'PNG', 'TIFF', 'WEBP')       # formats that may hold more than one picture
VERIFY = ('header', 'full', 'exists', 'none')


def to_rgb(image: Image.Image) -> Image.Image:
    """Any PIL image in mode RGB.

    Transparent pixels are laid over white, as a viewer shows them. 16-bit grey values are scaled
    to 8 bits.

    Raises:
        ValueError: floating-point pixels, whose range nobody knows.
    """
    if image.mode == 'RGB' and 'transparency' not in image.info:
        return image
    if image.mode == 'F':
        raise ValueError('floating-point pixels; save it with 8 bits')
    if image.mode.startswith('I'):     # 'I;16' and its byte orders; 'I' in Pillow before 10
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert('RGB')
    if image.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info:
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert('RGB')
    return image.convert('RGB')


def read_rgb(path: str | bytes) -> Image.Image:
    """The image of a file, decoded, in mode RGB.

    Raises:
        ValueError: an animation or a file of several pages.
    """
    with Image.open(path) as image:
        _check_single(image)
        image.load()
        return to_rgb(image)


def check_file(path: str | bytes, full: bool = False) -> str | None:
    """What is wrong with an image file, or None.

    Reads the header and the end; decodes the whole only if `full`, or if the end is not what a
    complete file of the format has.
    """
    try:
        with Image.open(path) as image:
            _check_single(image)
            ending = ENDINGS.get(image.format)
        if not full and ending is not None:
            with open(path, 'rb') as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
                if ending in file.read():
                    return None
        read_rgb(path)
    except Exception as error:     # Pillow's readers raise many kinds for broken files
        return reason(error)
    return None


def _check_single(image: Image.Image) -> None:
    # Not MPO, a photograph with a small copy of itself.
    if image.format in SEVERAL and getattr(image, 'is_animated', False):
        raise ValueError(f'{image.n_frames} frames or pages; save the one that is meant')


def reason(error: Exception) -> str:
    """The cause of a failed read in a few words, without the path."""
    if isinstance(error, FileNotFoundError):
        return 'no such file'
    if isinstance(error, Image.UnidentifiedImageError):
        return 'not an image'
    return (getattr(error, 'strerror', None) or str(error) or type(error).__name__).splitlines()[0]


def unreadable(path: str, error: Exception) -> DataError:
    """The error for a file that fails only when it is needed."""
    return DataError(f'{path} cannot be read ({reason(error)}). Replace or remove it; '
                     "verify='full' finds such files early.")


def subfolders(folder: str | Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith('.'))


def walk(folder: str, prefix: str, ignored: list[str], above: tuple[str, ...] = ()
         ) -> Iterator[str]:
    """Sorted paths of the images below a folder, each with `prefix`; the rest goes to `ignored`.

    Args:
        above: the real paths of the folders that have led here.

    Raises:
        DataError: a link to a folder that has led to it.
    """
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        found = sorted((e.name, e.is_dir()) for e in entries if not e.name.startswith('.'))
    for name, is_folder in found:
        if is_folder:
            path = os.path.join(folder, name)
            if os.path.islink(path) and os.path.realpath(path) in above:
                raise DataError(f'{path} is a link to a folder that holds it. Remove the link.')
            yield from walk(path, f'{prefix}{name}/', ignored, above)
        elif name.lower().endswith(EXTENSIONS):
            yield prefix + name
        else:
            ignored.append(prefix + name)


class ImageFileDataset(LongTailDataset):
    """Images in files below `folder`, at the relative `paths`.

    Args:
        in_memory: decode all images at construction into one array; they need one size.
        verify: what is checked of every file that is not kept in memory, before training: 'header'
            (with the end of the file), 'full' (decode everything), 'exists' (its folder lists it)
            or 'none'.
        backend: who decodes and resizes what is not kept in memory: 'pil', as in published
            numbers, 'torchvision' or 'opencv', which are faster.
        pipeline, arguments: of LongTailDataset.
    """

    def __init__(self, *, in_memory: bool = False, verify: str = 'header', backend: str = 'pil',
                 pipeline: Sequence = (), **arguments):
        if verify not in VERIFY:
            raise DataError(f"{type(self).__name__} got verify='{verify}'; known: "
                            f"{', '.join(VERIFY)}.")
        if backend not in BACKENDS:
            raise DataError(f"{type(self).__name__} got backend='{backend}'; known: "
                            f"{', '.join(BACKENDS)}.")
        check_backend(backend)      # before a worker needs it
        self.in_memory = in_memory
        self.verify = verify
        self.backend = backend
        self.folder = ''
        self.paths = PathTable.pack([])     # [M], then [N] after the selection
        super().__init__(pipeline=pipeline_for(pipeline, backend), **arguments)

    def scan_tree(self, folder: str, classes: list[str],
                  others: Sequence[str] = ()) -> np.ndarray:
        """Set `folder` and `paths` from one folder a class; labels int64 [M].

        Folders named in `others` may be there and are left alone.

        Raises:
            DataError: a class folder that is absent or empty, or one that is not a class.
        """
        present = subfolders(folder)
        unknown = sorted(set(present) - set(classes) - set(others))
        if unknown:
            raise DataError(f"{folder} has the folder '{unknown[0]}', which is not among the "
                            f'{len(classes)} classes. Remove it, or name it in classes=.')
        paths, sizes, ignored = [], [], []
        for name in classes:
            before = len(paths)
            path = os.path.join(folder, name)
            if name in present:
                paths.extend(walk(path, f'{name}/', ignored))
                if len(paths) == before:
                    raise DataError(f'The class folder {path} holds no image. Add images, or '
                                    'remove the folder.')
            sizes.append(len(paths) - before)
        with os.scandir(folder) as entries:
            beside = sorted(e.name for e in entries if e.name.lower().endswith(EXTENSIONS)
                            and not e.name.startswith('.') and e.is_file())
        if beside:
            warnings.warn(f'{folder}: {len(beside)} images lie beside the class folders and are '
                          f'ignored, for example {beside[0]}.')
        if ignored:
            warnings.warn(f'{folder}: {len(ignored)} files are ignored because their names do not '
                          f'end like an image, for example {ignored[0]}.')
        self.folder = folder
        self.paths = PathTable.pack(paths)
        return np.repeat(np.arange(len(classes)), sizes)

    def prepare(self) -> dict[int, str]:
        self.paths = self.paths[self.positions]
        if self.in_memory:
            return self._decode()
        if self.verify == 'none':
            return {}
        if self.verify == 'exists':
            absent = find_absent(self.folder, iter(self.paths))
            return dict.fromkeys(absent.tolist(), 'no such file')
        full = self.verify == 'full'
        problems = ((index, check_file(self.path(index), full)) for index in range(len(self.paths)))
        return {index: problem for index, problem in problems if problem is not None}

    def _decode(self) -> dict[int, str]:
        """Read every image into `images`."""
        bad, images, first = {}, None, 0
        for index in range(len(self.paths)):
            try:
                image = read_rgb(self.path(index))
            except Exception as error:     # Pillow's readers raise many kinds for broken files
                bad[index] = reason(error)
                continue
            if images is None:
                first = index
                images = np.zeros((len(self.paths), image.height, image.width, 3), dtype=np.uint8)
            if (image.height, image.width) != images.shape[1:3]:
                raise DataError(
                    f'{self.path(index)} is {image.width}x{image.height} and {self.path(first)} is '
                    f'{images.shape[2]}x{images.shape[1]}: images in memory need one size. Resize '
                    'them, or set in_memory=False with a Resize in the pipeline.')
            images[index] = image
        if images is not None:
            self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        return bad

    def path(self, index: int) -> str:
        return os.path.join(self.folder, os.fsdecode(self.paths[index]))

    def source(self, index: int) -> str:
        return self.path(index) if len(self.paths) else super().source(index)

    def load_image(self, index: int):
        if self.images is not None:
            return self.images[index]
        read = read_rgb if self.backend == 'pil' else fast_reader(self.backend)
        try:
            return read(self.path(index))
        except Exception as error:
            raise unreadable(self.path(index), error) from None

    def identities(self) -> list[str]:
        return [os.fsdecode(path) for path in self.paths]

    @property
    def pool(self) -> tuple | None:
        return 'files',

    @property
    def members(self) -> np.ndarray:
        # Whole paths: a list may name files of the folder that another data set begins in.
        folder = os.fsencode(os.path.realpath(self.folder))
        return np.array([os.path.normpath(os.path.join(folder, path)) for path in self.paths])

    def keep(self, good: np.ndarray) -> None:
        super().keep(good)
        self.paths = self.paths[good]
