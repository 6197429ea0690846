"""iNaturalist in the official JSON form, in the form of the public lists, and what can be wrong."""

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltcls.datasets import DataError, INaturalist, inaturalist
from ltcls.datasets.listed import Expected
from ltcls.datasets.overlap import check_apart
from ltcls.datasets.paths import read_list

FOLDERS = ('Plantae/0', 'Aves/1', 'Insecta/2', 'Plantae/3')
SIZES = (5, 4, 2, 1)


def image_paths(sizes, part: str) -> list[tuple[str, int]]:
    return [(f'train_val2018/{folder}/{part}{label}{i:04x}.jpg', label)
            for label, (folder, n) in enumerate(zip(FOLDERS, sizes)) for i in range(n)]


def official(pairs: list[tuple[str, int]], seed: int = 0) -> dict:
    """The official layout: image ids out of order, annotations in an order of their own."""
    rng = random.Random(seed)
    ids = rng.sample(range(1000, 2000), len(pairs))
    images = [dict(license=1, file_name=path, rights_holder='a b', height=8, width=8, id=number)
              for number, (path, _) in zip(ids, pairs)]
    annotations = [dict(image_id=number, category_id=label, id=n)
                   for n, (number, (_, label)) in enumerate(zip(ids, pairs))]
    rng.shuffle(annotations)
    categories = [dict(id=label, name=folder.split('/')[1], supercategory=folder.split('/')[0])
                  for label, folder in enumerate(FOLDERS)]
    return dict(info=dict(year=2018), images=images, annotations=annotations,
                categories=categories, licenses=[dict(id=1, name='CC', url='x')])


@pytest.fixture
def root(tmp_path, monkeypatch):
    """iNaturalist 2018 of four species, as its archives unpack."""
    monkeypatch.setitem(inaturalist.YEARS, 2018, dict(
        num_classes=4, groups=(0, 0, 4), archives='train_val2018.tar.gz',
        expected=dict(train=Expected(12, 5, 1), test=Expected(4, 1, 1))))
    for part, sizes in (('train', SIZES), ('val', (1, 1, 1, 1))):
        pairs = image_paths(sizes, part[0])
        for path, label in pairs:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (8, 8), (label * 60, 0, 0)).save(tmp_path / path, 'JPEG')
        (tmp_path / f'{part}2018.json').write_text(json.dumps(official(pairs)))
    return tmp_path


def as_lists(root: Path) -> None:
    for part, sizes in (('train', SIZES), ('val', (1, 1, 1, 1))):
        lines = [f'{path} {label}' for path, label in reversed(image_paths(sizes, part[0]))]
        (root / f'iNaturalist18_{part}.txt').write_text('\n'.join(lines) + '\n')


def test_annotations_are_joined_to_images_by_the_id(root):
    train = INaturalist(root=str(root))
    assert train.metainfo == dict(classes=list(FOLDERS), class_counts=list(SIZES))
    assert dict(zip(train.identities(), train.labels.tolist())) == dict(image_paths(SIZES, 't'))
    for index in (0, 6, 11):
        sample = train[index]
        assert abs(int(sample['inputs'][0].float().mean()) - 60 * sample['labels']) < 3


def test_the_lists_give_the_same_images_as_the_annotations(root):
    prints = [INaturalist(root=str(root), split=split).fingerprint for split in ('train', 'test')]
    as_lists(root)
    for part in ('train', 'val'):
        (root / f'{part}2018.json').unlink()
    assert prints == [INaturalist(root=str(root), split=split).fingerprint
                      for split in ('train', 'test')]


def test_the_test_images_are_the_official_validation_images(root):
    test = INaturalist(root=str(root), split='test')
    assert [name.split('/')[-1] for name in test.identities()] == [
        'v00000.jpg', 'v10000.jpg', 'v20000.jpg', 'v30000.jpg']
    with pytest.raises(DataError, match="has no split 'val'; it has train, test, dev"):
        INaturalist(root=str(root), split='val')


def test_a_class_without_images_to_spare_shares_them_with_the_development_set(root):
    with pytest.warns(UserWarning, match='2 classes have no more than 2 images'):
        train = INaturalist(root=str(root), held_out=2)
    with pytest.warns(UserWarning):
        dev = INaturalist(root=str(root), split='dev', held_out=2)
    assert train.class_counts == [3, 2, 2, 1]
    assert dev.class_counts == [2, 2, 2, 1]
    shared = set(train.identities()) & set(dev.identities())
    assert {int(name.split('/')[2]) for name in shared} == {2, 3} and len(shared) == 3


def test_other_images_than_those_of_small_classes_are_not_shared(root):
    with pytest.warns(UserWarning, match='no more than'):
        train, dev, fewer = (INaturalist(root=str(root), split=split, held_out=held_out)
                             for split, held_out in (('train', 2), ('dev', 2), ('dev', 1)))
    check_apart(train, dev, 'val')
    check_apart(train, INaturalist(root=str(root), split='test'), 'test')
    with pytest.raises(DataError, match='^4 of the 4 images of val_dataloader.dataset are also in'):
        check_apart(INaturalist(root=str(root)), dev, 'val')
    with pytest.raises(DataError, match='are also in train_dataloader.dataset'):
        check_apart(train, fewer, 'val')


def test_without_annotations_the_message_says_what_to_fetch(root):
    (root / 'train2018.json').unlink()
    with pytest.raises(DataError, match='needs train2018.json or iNaturalist18_train.txt, which is '
                                        'not in .*train_val2018.tar.gz.*https://'):
        INaturalist(root=str(root))
    with pytest.raises(DataError, match='2016; known: 2017, 2018'):
        INaturalist(root=str(root), year=2016)


def test_missing_images_are_counted(root):
    (root / image_paths(SIZES, 't')[3][0]).unlink()
    with pytest.raises(DataError, match='1 of 12 train images of iNaturalist 2018 are missing '
                                        'below .*: train_val2018/Plantae/0/t00003.jpg'):
        INaturalist(root=str(root))


@pytest.mark.parametrize('change, problem', [
    (lambda content: content['annotations'].pop(), 'annotates 11 of its 12 images'),
    (lambda content: content['annotations'].append(content['annotations'][0]),
     'annotates 12 of its 12 images with 13 annotations'),
    (lambda content: content['annotations'][0].update(category_id=4), 'category_id 0 to 4'),
    (lambda content: content['annotations'][0].update(category_id=None),
     'train2018.json has category_id None, which is no integer'),
    (lambda content: content['annotations'][0].update(category_id=0.7),
     'train2018.json has category_id 0.7, which is no integer'),
    (lambda content: content['images'][0].update(id=None), 'has id None, which is no integer'),
    (lambda content: content.pop('images'), 'is not an annotation file')])
def test_annotations_that_do_not_fit_their_images_are_refused(root, change, problem):
    path = root / 'train2018.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=problem):
        INaturalist(root=str(root))


def test_an_annotation_file_that_is_cut_off_is_refused(root):
    path = root / 'train2018.json'
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match='train2018.json is not an annotation file .* cut off'):
        INaturalist(root=str(root))


def test_the_first_year_names_species_by_their_folders(tmp_path, monkeypatch):
    monkeypatch.setitem(inaturalist.YEARS, 2017, dict(
        num_classes=2, groups=None, archives='train_val_images.tar.gz',
        expected=dict(train=Expected(3), test=Expected(1))))
    pairs = [('train_val_images/Aves/Corvus corax/a.jpg', 1),
             ('train_val_images/Aves/Corvus corax/b.jpg', 1),
             ('train_val_images/Plantae/Abies alba/c.jpg', 0)]
    (tmp_path / 'train2017.json').write_text(json.dumps(official(pairs)))
    train = INaturalist(root=str(tmp_path), year=2017, verify='none')
    assert train.classes == ['Plantae/Abies alba', 'Aves/Corvus corax']
    assert train.class_counts == [1, 2]
    assert train.path(0) == str(tmp_path / 'train_val_images/Aves/Corvus corax/a.jpg')


def test_what_is_known_of_the_real_data():
    years = inaturalist.YEARS
    assert sum(years[2018]['groups']) == years[2018]['num_classes'] == 8142
    assert years[2018]['expected']['train'] == (437_513, 1000, 2)
    assert years[2018]['expected']['test'].images == 3 * 8142
    assert years[2017]['expected']['train'].images == 579_184


def test_the_real_validation_list(tmp_path):
    folder = os.environ.get('LTCLS_TEST_DATA')
    if not folder:
        pytest.skip('LTCLS_TEST_DATA is not set: it names the folder of the real lists')
    lists = Path(folder) / 'lists'
    if not lists.is_dir():
        pytest.skip(f'{lists} does not exist')
    paths, labels = read_list(str(lists / 'iNaturalist18_val.txt.gz'), 8142)
    assert np.bincount(labels).tolist() == [3] * 8142
    parts = [path.decode().split('/') for path in paths]
    assert {part[0] for part in parts} == {'train_val2018'}
    assert [int(part[2]) for part in parts] == labels.tolist()
    test = INaturalist(root=str(tmp_path), lists=str(lists), split='test', verify='none')
    assert len(test) == 24_426
    kingdoms = [name.split('/')[0] for name in test.classes]
    counted = {kingdom: kingdoms.count(kingdom) for kingdom in set(kingdoms)}
    assert counted['Plantae'] == 2917 and counted['Aves'] == 1258 and counted['Bacteria'] == 1
    assert len(counted) == 14 and sum(counted.values()) == 8142
