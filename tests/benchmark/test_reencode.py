"""The copy of a tree of JPEG images at a lower quality."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'benchmark'))

from reencode import main  # noqa: E402


@pytest.fixture
def tree(tmp_path):
    draws = np.random.default_rng(0)
    for name in ('train/cat/0.jpg', 'train/dog/0.jpg', 'test/cat/0.jpg'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True)
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path, quality=75)
    return tmp_path / 'images'


def test_the_copy_has_the_same_files_and_is_coarser(tree, tmp_path, capsys):
    said = []
    for quality in (75, 20):
        copy = tmp_path / str(quality)
        assert main([str(tree), str(copy), '--quality', str(quality)]) == 0
        assert ({path.relative_to(copy) for path in copy.rglob('*.jpg')}
                == {path.relative_to(tree) for path in tree.rglob('*.jpg')})
        said.append(float(capsys.readouterr().out.split('changed by ')[1].split()[0]))
        pixels = [np.asarray(Image.open(folder / 'train/cat/0.jpg'), dtype=float)
                  for folder in (tree, copy)]
        assert np.abs(pixels[0] - pixels[1]).mean() > 0
    assert said[1] > said[0] > 0


def test_two_trees_are_compared_whatever_their_format(tree, tmp_path, capsys):
    other = tmp_path / 'other'
    for path in sorted(tree.rglob('*.jpg')):
        copy = (other / path.relative_to(tree)).with_suffix('.png')
        copy.parent.mkdir(parents=True)
        pixels = np.asarray(Image.open(path)).copy()
        pixels[:16] ^= 1                                    # half of the channels differ by 1
        Image.fromarray(pixels).save(copy)
    assert main([str(tree), '--against', str(other)]) == 0
    assert '3 images; a channel differs by 0.71 of 255' in capsys.readouterr().out
    copy.unlink()
    assert main([str(tree), '--against', str(other)]) == 2
    assert f'{other} holds no image' in capsys.readouterr().err


def test_what_cannot_be_copied_is_told(tree, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    assert main([str(tmp_path / 'empty'), str(tmp_path / 'copy')]) == 2
    assert 'holds no .jpg files' in capsys.readouterr().err
    assert main([str(tree), str(tmp_path / 'empty')]) == 2
    assert 'exists already: remove it' in capsys.readouterr().err
