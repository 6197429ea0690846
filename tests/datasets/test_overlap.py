"""Training and test sets that share images, or name classes differently."""

import csv

import pytest
from PIL import Image

from ltcls.datasets import DigitsLT, FolderLT, OpenSet, RandomImages
from ltcls.datasets.base import DataError
from ltcls.datasets.overlap import check_apart, renamed


@pytest.fixture
def pool(tmp_path):
    """Six images of each of three classes."""
    for name in 'abc':
        folder = tmp_path / 'pool' / name
        folder.mkdir(parents=True)
        for number in range(6):
            Image.new('RGB', (4, 4), (number, 0, 0)).save(folder / f'{number}.png')
    return str(tmp_path / 'pool')


def folder(pool, split, **options):
    return FolderLT(root=pool, split=split, **dict(dict(test_share=0.34), **options))


@pytest.mark.parametrize(('options', 'shared'), [
    (dict(test_share=0.5), '3 of the 9'), (dict(test_per_class=4, test_share=None), '6 of the 12')])
def test_images_that_are_trained_on_are_not_tested(pool, options, shared):
    train = folder(pool, 'train')
    check_apart(train, folder(pool, 'test'), 'test')
    with pytest.raises(DataError, match=f'^{shared} images of test_dataloader.dataset are also'):
        check_apart(train, folder(pool, 'test', **options), 'test')


def test_another_seed_of_the_draw_shares_images(pool):
    train, other = folder(pool, 'train'), folder(pool, 'test', split_seed=1)
    shared = len({*train.identities()} & {*other.identities()})
    assert shared > 0
    with pytest.raises(DataError, match=f'^{shared} of the {len(other)} images'):
        check_apart(train, other, 'val')


def test_a_development_set_that_was_not_held_out_is_refused(pool):
    dev = DigitsLT(split='dev', held_out=10)
    check_apart(DigitsLT(held_out=10), dev, 'val')
    check_apart(DigitsLT(held_out=10, imbalance=50), DigitsLT(split='test'), 'test')
    with pytest.raises(DataError, match='^100 of the 100 images of val_dataloader.dataset'):
        check_apart(DigitsLT(), dev, 'val')
    with pytest.raises(DataError, match='are also in train_dataloader.dataset'):
        check_apart(DigitsLT(held_out=10, selection_seed=1), dev, 'val')
    held = dict(type='DigitsLT', held_out=10)
    with pytest.raises(DataError, match='are also in'):
        check_apart(OpenSet(known=dict(held, held_out=0), held_out=['9']),
                    OpenSet(known=dict(held, split='dev'), held_out=['9']), 'val')


def test_classes_in_another_order_are_refused(pool):
    with pytest.raises(DataError, match="^Class 0 is 'a' in train_dataloader.dataset and 'c' in "
                                        'test_dataloader.dataset: give both the same classes'):
        check_apart(folder(pool, 'train'), folder(pool, 'test', classes=['c', 'b', 'a']), 'test')


def test_a_list_and_the_folders_it_names_are_told_apart_by_image(pool, tmp_path):
    path = tmp_path / 'list.csv'
    lines = [(f'{name}/{number}.png', name, 'test' if number == 5 else 'train')
             for name in 'abc' for number in range(6)]
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([('path', 'label', 'split'), *lines])
    train = FolderLT(root=pool, csv=str(path))
    check_apart(train, FolderLT(root=pool, csv=str(path), split='test'), 'test')
    everything = folder(pool, 'test', test_per_class=5, test_share=None)
    with pytest.raises(DataError, match='of the 15 images'):
        check_apart(train, everything, 'test')


def test_a_list_that_begins_in_another_folder_names_the_same_images(pool, tmp_path):
    (tmp_path / 'lists').mkdir()
    for place, inside in ((tmp_path, 'pool/a'), (tmp_path / 'lists', '../pool/a')):
        path = place / 'list.csv'
        path.write_text(f'path,label,split\n{inside}/0.png,a,train\n{inside}/1.png,a,test\n')
        listed = FolderLT(csv=str(path), split='test')
        with pytest.raises(DataError, match='^1 of the 1 images of test_dataloader.dataset'):
            check_apart(FolderLT(root=pool), listed, 'test')


def test_random_images_and_numbers_for_names_are_not_compared():
    check_apart(RandomImages(3), RandomImages(3, split='test'), 'test')
    check_apart(RandomImages(3, classes=['x', 'y', 'z']), RandomImages(3, split='test'), 'test')
    check_apart(RandomImages(3, classes=['0', '10', '2']), RandomImages(3, split='test'), 'test')


@pytest.mark.parametrize(('names', 'others', 'found'), [
    (['0', '1', '10', '2'], ['0', '1', '2', '10'], (2, '10', '2')),
    (['1', '2'], ['0', '1'], (1, '2', '1')),
    (['cat', 'dog'], ['0', '1'], None),                     # labels that count the names
    (['100', '200', '300'], ['100', '1', '300'], None),     # a class without an image
])
def test_numbers_that_are_names_of_both_are_compared(names, others, found):
    assert renamed(names, others) == found
    assert renamed(others, names) == (found and (found[0], found[2], found[1]))
