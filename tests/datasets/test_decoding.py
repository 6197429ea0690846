"""The backends of decoding and resizing against Pillow and torchvision."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from ltcls.datasets import DataError, FolderLT, OpenCVRandomResizedCrop, OpenCVResize
from ltcls.datasets.decoding import BACKENDS, fast_reader, opencv, pipeline_for
from ltcls.datasets.files import read_rgb
from ltcls.datasets.transforms import to_tensor

FAST = BACKENDS[1:]


def ramp(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards: a pixel says where it was."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[..., 0] = np.linspace(0, 255, width)
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    return image


def needs(backend: str) -> None:
    if backend == 'opencv':
        pytest.importorskip('cv2')


@pytest.mark.parametrize('backend', FAST)
@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_every_backend_decodes_a_jpeg_as_pillow_does(tmp_path, backend, mode):
    needs(backend)
    path = str(tmp_path / 'a.jpg')
    Image.fromarray(ramp(40, 60)).convert(mode).save(path, quality=95)
    ours, pillow = fast_reader(backend)(path), to_tensor(read_rgb(path))
    assert ours.dtype == torch.uint8 and ours.shape == (3, 40, 60)
    assert (ours.int() - pillow.int()).abs().max() <= 2      # decoders round differently


@pytest.mark.parametrize('backend', FAST)
def test_an_orientation_in_the_file_is_left_aside(tmp_path, backend):
    needs(backend)
    path, turned = str(tmp_path / 'a.jpg'), Image.Exif()
    turned[0x0112] = 6      # the tag of the orientation: to be shown turned to the right
    Image.fromarray(ramp(40, 60)).save(path, exif=turned)
    assert fast_reader(backend)(path).shape == to_tensor(read_rgb(path)).shape == (3, 40, 60)


def test_opencv_leaves_parallelism_to_the_workers():
    needs('opencv')
    assert opencv().getNumThreads() == 1


@pytest.mark.parametrize('backend', FAST)
def test_other_formats_are_read_by_pillow_and_its_errors_too(tmp_path, backend):
    needs(backend)
    clear = Image.new('RGBA', (4, 4), (10, 20, 30, 0))
    clear.save(tmp_path / 'a.png')
    assert (fast_reader(backend)(str(tmp_path / 'a.png')) == 255).all()
    (tmp_path / 'b.jpg').write_bytes(b'\xff\xd8\xff and nothing more')
    with pytest.raises(Exception, match='cannot identify'):
        fast_reader(backend)(str(tmp_path / 'b.jpg'))


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_data_set_of_every_backend_gives_uint8_of_the_wanted_size(tmp_path, backend):
    needs(backend)
    for label in ('a', 'b'):
        (tmp_path / label).mkdir()
        for i in range(2):
            Image.fromarray(ramp(50, 40)).save(tmp_path / label / f'{i}.jpg')
    data = FolderLT(root=str(tmp_path), backend=backend, test_per_class=1, pipeline=[
        dict(type='RandomResizedCrop', size=16), dict(type='RandomHorizontalFlip'),
        dict(type='ColorJitter', brightness=0.4)])
    sample = data[1]['inputs']
    assert sample.dtype == torch.uint8 and sample.shape == (3, 16, 16)
    assert sample[0].float().std() > 5


def test_only_opencv_has_transforms_of_its_own():
    pipeline = [dict(type='Resize', size=8), dict(type='CenterCrop', size=4)]
    for backend in ('pil', 'torchvision'):
        assert pipeline_for(pipeline, backend) == pipeline
    assert pipeline_for(pipeline, 'opencv') == [dict(type='OpenCVResize', size=8), pipeline[1]]


@pytest.mark.parametrize('height, width', [(50, 80), (80, 50), (64, 64)])
@pytest.mark.parametrize('size', [32, 96, [20, 30], [20]])
def test_resizing_is_torchvisions_without_averaging(height, width, size):
    needs('opencv')
    image = to_tensor(Image.fromarray(ramp(height, width)))
    ours = OpenCVResize(size)(image)
    theirs = v2.Resize(size, antialias=False)(image)
    assert ours.shape == theirs.shape
    assert (ours.int() - theirs.int()).abs().max() <= 1


def test_random_crops_take_torchvisions_boxes():
    needs('opencv')
    image = to_tensor(Image.fromarray(ramp(90, 120)))
    for options in ({}, dict(scale=(0.2, 0.3), ratio=(2.0, 2.5))):
        ours = OpenCVRandomResizedCrop(24, **options)
        theirs = v2.RandomResizedCrop(24, antialias=False, **options)
        for seed in range(20):
            torch.manual_seed(seed)
            mine = ours(image)
            torch.manual_seed(seed)
            assert (mine.int() - theirs(image).int()).abs().max() <= 1, seed
    assert OpenCVRandomResizedCrop([24])(image).shape == (3, 24, 24)


def test_words_of_interpolation_mean_what_they_mean_elsewhere():
    needs('opencv')
    edge = torch.zeros(3, 8, 8, dtype=torch.uint8)
    edge[..., 4:] = 200
    found = {word: OpenCVResize(16, interpolation=word)(edge) for word in (
        'nearest', 'bilinear', 'bicubic')}
    assert set(found['nearest'].unique().tolist()) == {0, 200}
    assert found['bilinear'].max() == 200 and found['bilinear'].unique().numel() > 2
    assert found['bicubic'].max() > 200                # it overshoots beside an edge
    stripes = torch.zeros(3, 8, 8, dtype=torch.uint8)
    stripes[..., 3::4] = 200
    assert (OpenCVResize(2, interpolation='area')(stripes) == 50).all()
    assert (OpenCVResize(2)(stripes) == 0).all()


def test_a_pixel_in_any_memory_layout_resizes_alike():
    needs('opencv')
    image = torch.from_numpy(ramp(20, 30)).permute(2, 0, 1)
    assert torch.equal(OpenCVResize(10)(image), OpenCVResize(10)(image.contiguous()))


def test_slips_are_named(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="backend='cv2'; known: pil, torchvision, opencv"):
        FolderLT(root=str(tmp_path), backend='cv2')
    with pytest.raises(ValueError, match="interpolation='lanczos'; known: nearest"):
        OpenCVResize(8, interpolation='lanczos')
    opencv.cache_clear()
    monkeypatch.setitem(sys.modules, 'cv2', None)
    with pytest.raises(ImportError, match='pip install opencv-python-headless'):
        FolderLT(root=str(tmp_path), backend='opencv')
    opencv.cache_clear()
