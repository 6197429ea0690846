"""ImageNet-LT and Places-LT: lists, counts, layouts, missing files; and the tables they rest on."""

import gzip
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltcls.datasets import DataError, ImageNetLT, PlacesLT
from ltcls.datasets.files import ImageFileDataset
from ltcls.datasets.inaturalist import read_annotations
from ltcls.datasets.listed import Expected
from ltcls.datasets.paths import PathTable, find_absent, read_list
from ltcls.longtail import shot_groups

CATEGORIES = ('airfield', 'bar-sushi', 'zoo')
SIZES = (6, 3, 2)


def save(path: Path, size=(8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, (200, 30, 90)).save(path, 'JPEG')


def listed(counts, form: str) -> list[str]:
    return [f'{form.format(name=name, letter=name[0], nested=name.replace("-", "/"))}/{i:08d}.jpg '
            f'{label}' for label, (name, n) in enumerate(zip(CATEGORIES, counts)) for i in range(n)]


def write(path: Path, lines: list[str]) -> None:
    path.write_text('\n'.join(lines) + '\n')


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Places-LT of three classes: lists of the first form, and no image yet."""
    monkeypatch.setattr(PlacesLT, 'num_classes', 3)
    monkeypatch.setattr(PlacesLT, 'groups', (0, 0, 3))
    monkeypatch.setattr(PlacesLT, 'expected', dict(
        train=Expected(11, 6, 2), val=Expected(6, 2, 2), test=Expected(3, 1, 1)))
    write(tmp_path / 'Places_LT_train.txt', listed(SIZES, 'train/{name}'))
    write(tmp_path / 'Places_LT_val.txt',
          [line.replace('/0', '/1') for line in listed((2, 2, 2), 'train/{name}')])
    write(tmp_path / 'Places_LT_test.txt', [
        f'val/{name}/Places365_val_{label:08d}.jpg {label}'
        for label, name in enumerate(CATEGORIES)])
    return tmp_path


def paths_of(folder: Path, split: str) -> list[str]:
    lines = (folder / f'Places_LT_{split}.txt').read_text().splitlines()
    return [line.split()[0] for line in lines]


def fill(folder: Path, splits=('train', 'val', 'test')) -> None:
    for split in splits:
        for path in paths_of(folder, split):
            save(folder / path)


# Reading a list.

def test_a_list_gives_paths_and_labels_in_its_order(tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'x/1.jpg 2\ny/z/22.jpg 0\n3.jpg 11')
    paths, labels = read_list(str(tmp_path / 'a.txt'), 12)
    assert list(paths) == [b'x/1.jpg', b'y/z/22.jpg', b'3.jpg']
    assert labels.tolist() == [2, 0, 11]
    assert paths[1] == b'y/z/22.jpg'
    assert list(paths[np.array([2, 0])]) == [b'3.jpg', b'x/1.jpg']
    assert list(paths[np.array([True, False, True])]) == [b'x/1.jpg', b'3.jpg']


def test_windows_line_ends_its_byte_order_mark_and_gzip_make_no_difference(tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'x/1.jpg 2\r\ny/2.jpg 0\r\n')
    (tmp_path / 'b.txt.gz').write_bytes(gzip.compress(b'x/1.jpg 2\ny/2.jpg 0\n'))
    (tmp_path / 'c.txt').write_text('x/1.jpg 2\ny/2.jpg 0\n', encoding='utf-8-sig')
    for name in ('a.txt', 'b.txt.gz', 'c.txt'):
        paths, labels = read_list(str(tmp_path / name), 3)
        assert list(paths) == [b'x/1.jpg', b'y/2.jpg'] and labels.tolist() == [2, 0]


@pytest.mark.parametrize('line, problem', [
    ('a b/1.jpg 0', 'is not a path'), ('a/1.jpg', 'is not a path'), ('', 'is not a path'),
    ('a/1.jpg 0 0', 'is not a path'), ('a/1.jpg ', 'is not a path'), (' 1', 'is not a path'),
    ('a/1.jpg 3', 'none of 0 to 2'), ('a/1.jpg -1', 'none of 0 to 2'),
    ('a/1.jpg x', 'none of 0 to 2')])
def test_a_line_that_is_not_path_and_label_is_named_by_its_number(tmp_path, line, problem):
    (tmp_path / 'a.txt').write_text(f'a/0.jpg 0\na/0.jpg 1\n{line}\na/4.jpg 2\n')
    with pytest.raises(DataError, match=f'a.txt, line 3: .*{problem}'):
        read_list(str(tmp_path / 'a.txt'), 3)


@pytest.mark.parametrize('read', [read_list, read_annotations])
def test_a_damaged_gzip_file_is_named_once(tmp_path, read):
    path = str(tmp_path / 'a.gz')
    whole = gzip.compress(b'x/1.jpg 2\n' * 9)
    for content in (whole[:10] + b'\xff' + whole[11:], whole[:-9]):      # another block type; cut
        Path(path).write_bytes(content)
        with pytest.raises(DataError, match='^[^ ]*a.gz is not a complete gzip file .*') as caught:
            read(path, 3)
        assert str(caught.value).count('Fetch it anew') == 1


def test_packed_names_and_listed_ones_look_alike():
    table = PathTable.pack(['a/1.jpg', 'ü/22.jpg', ''])
    assert list(table) == [b'a/1.jpg', 'ü/22.jpg'.encode(), b'']
    assert len(PathTable.pack([])) == 0


def test_absent_files_are_found_without_asking_for_single_files(tmp_path, monkeypatch):
    save(tmp_path / 'a' / '1.jpg')
    monkeypatch.setattr(os, 'stat', None)
    names = [b'a/2.jpg', b'a/1.jpg', b'b/1.jpg', b'a/3.jpg']
    assert find_absent(str(tmp_path), names).tolist() == [0, 2, 3]


# The data sets.

def test_images_labels_names_and_counts_are_those_of_the_list(places):
    fill(places)
    train = PlacesLT(root=str(places))
    assert train.metainfo == dict(classes=list(CATEGORIES), class_counts=list(SIZES))
    assert train[7]['inputs'].shape == (3, 8, 8) and train[7]['labels'] == 1
    assert train.path(7) == str(places / 'train/bar-sushi/00000001.jpg')
    test = PlacesLT(root=str(places), split='test')
    assert test.metainfo == dict(classes=list(CATEGORIES), class_counts=[1, 1, 1])


def test_development_images_are_the_first_of_each_class_in_the_validation_list(places):
    fill(places)
    dev = PlacesLT(root=str(places), split='dev', held_out=1)
    assert dev.identities() == ['airfield/10000000.jpg', 'bar-sushi/10000000.jpg',
                                'zoo/10000000.jpg']
    train = PlacesLT(root=str(places), held_out=1)
    assert train.class_counts == list(SIZES)
    assert train.fingerprint == PlacesLT(root=str(places)).fingerprint
    with pytest.raises(DataError, match='held_out=3 exceeds the 2 images'):
        PlacesLT(root=str(places), split='dev', held_out=3)


def test_validation_images_are_the_ones_that_the_development_set_leaves(places):
    fill(places)
    whole, dev, rest = (PlacesLT(root=str(places), split=split, held_out=held_out)
                        for split, held_out in (('val', 0), ('dev', 1), ('val', 1)))
    assert sorted([*dev.identities(), *rest.identities()]) == sorted(whole.identities())
    assert len({data.fingerprint for data in (whole, dev, rest)}) == 3
    with pytest.raises(DataError, match='takes all 2 images a class.*none are left to validate on'):
        PlacesLT(root=str(places), split='val', held_out=2)


def test_both_forms_of_the_lists_are_the_same_data(places, tmp_path):
    other = tmp_path / 'other'
    other.mkdir()
    for split in ('train', 'val'):
        lines = [line.replace('train/', '') for line in
                 (places / f'Places_LT_{split}.txt').read_text().splitlines()]
        write(other / f'Places_LT_{split}.txt',
              [f"data_256/{line[0]}/{line.replace('-', '/')}" for line in lines])
    write(other / 'Places_LT_test.txt', [
        f'val_256/Places365_val_{label:08d}.jpg {label}' for label in range(3)])
    for split in ('train', 'val', 'test'):
        one = PlacesLT(root=str(places), split=split, verify='none')
        two = PlacesLT(root=str(other), split=split, verify='none')
        assert one.fingerprint == two.fingerprint, split


@pytest.mark.parametrize('size', ['256', 'large'])
def test_a_list_with_class_folders_finds_the_images_of_the_small_archives(places, size):
    for path in [*paths_of(places, 'train'), *paths_of(places, 'val')]:
        name, file = path.split('/')[1:]
        save(places / f'data_{size}' / name[0] / name.replace('-', '/') / file)
    for label in range(3):
        save(places / f'val_{size}' / f'Places365_val_{label:08d}.jpg')
    train = PlacesLT(root=str(places))
    assert train.path(7) == str(places / f'data_{size}/b/bar/sushi/00000001.jpg')
    assert train.layout == size and train[7]['labels'] == 1
    test = PlacesLT(root=str(places), split='test')
    assert test.path(1) == str(places / f'val_{size}/Places365_val_00000001.jpg')
    assert train.identities()[7] == 'bar-sushi/00000001.jpg'


def test_a_list_of_the_small_archives_beside_the_easy_one_is_explained(places):
    fill(places, ['train'])
    write(places / 'Places_LT_test.txt', [
        f'val_256/Places365_val_{label:08d}.jpg {label}' for label in range(3)])
    with pytest.raises(DataError, match='3 of 3 test images .* lists are those of the small'):
        PlacesLT(root=str(places), split='test')


def test_validation_images_of_imagenet_lie_in_class_folders_or_in_one(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageNetLT, 'num_classes', 2)
    monkeypatch.setattr(ImageNetLT, 'groups', None)
    monkeypatch.setattr(ImageNetLT, 'expected', dict(train=Expected(2), test=Expected(2)))
    write(tmp_path / 'ImageNet_LT_train.txt',
          ['train/n01/n01_1.JPEG 0', 'train/n02/n02_1.JPEG 1'])
    write(tmp_path / 'ImageNet_LT_test.txt',
          ['val/n01/ILSVRC2012_val_1.JPEG 0', 'val/n02/ILSVRC2012_val_2.JPEG 1'])
    for label in (1, 2):
        save(tmp_path / 'val' / f'ILSVRC2012_val_{label}.JPEG')
    flat = ImageNetLT(root=str(tmp_path), split='test')
    assert flat.layout == 'flat-val' and flat.classes == ['n01', 'n02']
    for label in (1, 2):
        save(tmp_path / 'val' / f'n0{label}' / f'ILSVRC2012_val_{label}.JPEG')
        (tmp_path / 'val' / f'ILSVRC2012_val_{label}.JPEG').unlink()
    nested = ImageNetLT(root=str(tmp_path), split='test')
    assert nested.layout == 'listed'
    assert nested.path(1) == str(tmp_path / 'val/n02/ILSVRC2012_val_2.JPEG')
    assert nested.fingerprint == flat.fingerprint


# What is wrong is said in one line.

def test_a_folder_that_is_not_there_names_the_archives_and_the_lists(tmp_path):
    for cls in (ImageNetLT, PlacesLT):
        with pytest.raises(DataError) as error:
            cls(root=str(tmp_path / 'nowhere'))
        message = str(error.value)
        assert str(tmp_path / 'nowhere') in message and '\n' not in message
        assert 'https://' in message and '.tar' in message and 'ltcls data link' in message


def test_a_list_that_is_not_there_names_the_places_that_were_searched(places, tmp_path):
    (places / 'Places_LT_test.txt').unlink()
    with pytest.raises(DataError, match=f'needs Places_LT_test.txt, .* not in {tmp_path} and '
                                        f'{tmp_path}/lists'):
        PlacesLT(root=str(places), split='test')


def test_a_partial_download_counts_the_missing_and_shows_the_first(places):
    fill(places)
    for path in paths_of(places, 'train')[4:]:
        (places / path).unlink()
    with pytest.raises(DataError) as error:
        PlacesLT(root=str(places))
    message = str(error.value)
    assert message.startswith(f'7 of 11 train images of Places-LT are missing below {places}: '
                              'train/airfield/00000004.jpg, train/airfield/00000005.jpg, '
                              'train/bar-sushi/00000000.jpg')
    assert message.count('.jpg') == 5 and 'and others' in message and '--skip-bad' in message


def test_the_rest_of_a_partial_download_can_be_used(places):
    fill(places)
    (places / 'train/zoo/00000001.jpg').unlink()
    with pytest.warns(UserWarning, match='goes on without 1 image of 11: zoo/00000001.jpg'):
        train = PlacesLT(root=str(places), skip_bad_images=True)
    assert train.class_counts == [6, 3, 1] and len(train.identities()) == 10
    (places / 'train/zoo/00000000.jpg').unlink()
    with pytest.warns(UserWarning), pytest.raises(DataError, match="class 'zoo' has no usable"):
        PlacesLT(root=str(places), skip_bad_images=True)


@pytest.mark.parametrize('counts, problem', [
    ((6, 3, 1), '10 images instead of 11'),
    ((5, 4, 2), '5 to 2 images a class instead of 6 to 2')])
def test_a_list_with_other_counts_is_not_the_data_set(places, counts, problem):
    write(places / 'Places_LT_train.txt', listed(counts, 'train/{name}'))
    with pytest.raises(DataError, match=problem):
        PlacesLT(root=str(places), verify='none')


def test_a_list_with_other_groups_is_not_the_data_set(places, monkeypatch):
    monkeypatch.setattr(PlacesLT, 'groups', (1, 0, 2))
    with pytest.raises(DataError, match='0 classes with many, 0 with medium and 3 with few images '
                                        'instead of 1, 0 and 2'):
        PlacesLT(root=str(places), verify='none')


# Size.

def test_437_513_images_are_built_in_five_seconds_and_are_small_to_send(tmp_path, monkeypatch):
    count, classes = 437_513, 365
    monkeypatch.setattr(PlacesLT, 'groups', None)
    monkeypatch.setattr(PlacesLT, 'expected', dict(train=Expected(count)))
    lines = [b'train/class%03d/%032d.jpg %d' % (i % classes, i, i % classes) for i in range(count)]
    (tmp_path / 'Places_LT_train.txt').write_bytes(b'\n'.join(lines))
    del lines
    before = time.process_time()
    dataset = PlacesLT(root=str(tmp_path), verify='none')
    assert time.process_time() - before < 5
    assert dataset.class_counts[0] == 1199
    assert len(pickle.dumps(dataset)) < 60e6        # what a worker is sent
    assert not any(isinstance(value, list) and len(value) > 1000
                   for value in vars(dataset).values())


# The real lists.

@pytest.fixture
def lists():
    folder = os.environ.get('LTCLS_TEST_DATA')
    if not folder:
        pytest.skip('LTCLS_TEST_DATA is not set: it names the folder of the real lists')
    path = Path(folder) / 'lists'
    if not path.is_dir():
        pytest.skip(f'{path} does not exist')
    return str(path)


def test_the_real_lists_of_places(lists, tmp_path):
    common = dict(root=str(tmp_path), lists=lists, verify='none')
    train = PlacesLT(**common)
    assert len(train) == 62_500 and train.class_counts[:5] == [219, 20, 115, 86, 229]
    groups = shot_groups(train.class_counts)
    assert [len(groups[name]) for name in ('many', 'medium', 'few')] == [131, 163, 71]
    assert [len(group) for group in shot_groups(train.class_counts, 'oltr').values()] == [
        132, 156, 77]
    assert train.classes[:2] == ['airfield', 'airplane_cabin'] and len(set(train.classes)) == 365
    val, test = PlacesLT(**common, split='val'), PlacesLT(**common, split='test')
    assert set(val.class_counts) == {20} and set(test.class_counts) == {100}
    assert train.path(0) == str(tmp_path / 'train/airfield/00004851.jpg')
    assert test.identities()[0] == 'Places365_val_00003597.jpg'
    names = [set(dataset.identities()) for dataset in (train, val, test)]
    assert sum(map(len, names)) == len(set.union(*names)) == 106_300
    dev = PlacesLT(**common, split='dev', held_out=10)
    assert set(dev.class_counts) == {10} and set(dev.identities()) < names[1]


def test_the_real_lists_of_imagenet(lists):
    for split, each in (('val', 20), ('test', 50)):
        paths, labels = read_list(f'{lists}/ImageNet_LT_{split}.txt.gz', 1000)
        assert np.bincount(labels).tolist() == [each] * 1000
        # Labels are the places of the classes in their alphabetical order.
        folders = [path.split(b'/')[1].decode() for path in paths]
        order = {name: label for label, name in enumerate(sorted(set(folders)))}
        assert [order[name] for name in folders] == labels.tolist()
    with pytest.raises(DataError, match='needs ImageNet_LT_train.txt, which is not in'):
        ImageNetLT(root=lists, lists=lists, split='test')


def test_every_listed_data_set_reads_files_like_any_other():
    assert issubclass(PlacesLT, ImageFileDataset) and issubclass(ImageNetLT, ImageFileDataset)
    assert ImageNetLT.expected['train'] == (115_846, 1280, 5)
    assert sum(ImageNetLT.groups) == 1000 and sum(PlacesLT.groups) == 365
