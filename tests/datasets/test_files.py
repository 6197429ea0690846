import numpy as np
import pytest
from PIL import Image

from ltcls.datasets.files import read_rgb, to_rgb
from ltcls.datasets.paths import PathTable


def pixel(image):
    assert image.mode == 'RGB'
    return image.getpixel((0, 0))


def test_grey_becomes_three_equal_channels():
    assert pixel(to_rgb(Image.new('L', (2, 2), 77))) == (77, 77, 77)
    assert pixel(to_rgb(Image.new('1', (2, 2), 1))) == (255, 255, 255)


def test_transparent_pixels_lie_on_white():
    assert pixel(to_rgb(Image.new('RGBA', (2, 2), (10, 20, 30, 0)))) == (255, 255, 255)
    assert pixel(to_rgb(Image.new('RGBA', (2, 2), (10, 20, 30, 255)))) == (10, 20, 30)
    assert pixel(to_rgb(Image.new('LA', (2, 2), (0, 128)))) == (127, 127, 127)


def test_a_palette_is_looked_up(tmp_path):
    image = Image.new('P', (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert pixel(to_rgb(image)) == (200, 100, 50)
    image.save(tmp_path / 'clear.png', transparency=1)
    assert pixel(read_rgb(tmp_path / 'clear.png')) == (255, 255, 255)


def test_print_colours_become_screen_colours(tmp_path):
    Image.new('CMYK', (8, 8), (0, 255, 255, 0)).save(tmp_path / 'red.jpg')
    red, green, blue = pixel(read_rgb(tmp_path / 'red.jpg'))
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize('value, expected', [(0, 0), (65535, 255), (32896, 128), (256, 1)])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, value, expected):
    Image.fromarray(np.full((2, 2), value, dtype=np.uint16)).save(tmp_path / 'deep.png')
    assert pixel(read_rgb(tmp_path / 'deep.png')) == (expected,) * 3


def test_floating_point_pixels_are_refused():
    with pytest.raises(ValueError, match='save it with 8 bits'):
        to_rgb(Image.new('F', (2, 2), 0.5))


def test_packed_names_keep_their_bytes():
    packed = PathTable.pack(['a/1.jpg', 'ü/2.jpg'])
    assert packed[1].decode() == 'ü/2.jpg'
    assert len(PathTable.pack([])) == 0
