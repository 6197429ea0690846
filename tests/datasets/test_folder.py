import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ltcls.datasets import DataError, FolderLT, collate_batch
from ltcls.datasets.loading import check_loader

RESIZE = [dict(type='Resize', size=[8, 8])]


def picture(path, value=0, size=(8, 8), mode='RGB'):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode != 'RGB' else (value, value, value)).save(path)


def grow(root, counts, split=''):
    """Class folders a, b, ... with the given numbers of pictures, pixel = number of the picture."""
    for name, n in zip('abcdefgh', counts):
        for number in range(n):
            picture(root / split / name / f'{number}.png', value=number)
    return str(root)


def one_line(*arguments, match, **keywords):
    with pytest.raises(DataError, match=match) as caught:
        FolderLT(*arguments, **keywords)
    assert '\n' not in str(caught.value)


# Folders.

def test_split_folders_share_the_classes_of_the_training_folder(tmp_path):
    grow(tmp_path, [6, 3], 'train')
    grow(tmp_path, [1, 2], 'test')
    grow(tmp_path, [2, 1], 'val')
    root = str(tmp_path)
    counts = {split: FolderLT(root, split=split).class_counts for split in ('train', 'val', 'test')}
    assert counts == dict(train=[6, 3], val=[2, 1], test=[1, 2])
    sample = FolderLT(root)[2]
    assert sample['labels'] == 0
    assert torch.equal(sample['inputs'], torch.full((3, 8, 8), 2, dtype=torch.uint8))


def test_the_training_folders_can_be_cut_to_a_tail(tmp_path):
    data = FolderLT(grow(tmp_path, [16, 16, 16], 'train'), imbalance=16)
    assert data.class_counts == [16, 4, 1]


def test_a_slice_of_the_class_folders_leaves_the_others_alone(tmp_path):
    grow(tmp_path, [8, 2, 4, 3, 2], 'train')
    grow(tmp_path, [1, 2, 3, 4, 5], 'test')
    root = str(tmp_path)
    odd, even = [1, 5, 2], [0, None, 2]
    train = FolderLT(root, class_slice=even)
    assert (train.metainfo['classes'], train.class_counts) == (['a', 'c', 'e'], [8, 4, 2])
    assert FolderLT(root, split='test', class_slice=odd).class_counts == [2, 4]
    assert FolderLT(root, class_slice=even, imbalance=4).class_counts == [8, 4, 2]
    assert FolderLT(str(tmp_path / 'train'), class_slice=odd).metainfo['classes'] == ['b', 'd']
    # The classes of `classes` are counted in their order.
    assert FolderLT(root, classes=list('edcba'), class_slice=[0, 2]).class_counts == [2, 3]
    one_line(root, class_slice=[7, 9], match=r'class_slice=\[7, 9\] leaves none of the 5 classes')
    one_line(root, class_slice=[1], match=r'class_slice=\[1\]; it is \[start, stop\]')
    one_line(csv='list.csv', class_slice=[0, 1], match='for class folders only')


def test_class_folders_alone_are_split_so_that_every_class_is_trained(tmp_path):
    root = grow(tmp_path, [10, 4, 1])
    train = FolderLT(root, test_share=0.25)
    with pytest.warns(UserWarning, match="class 'c' has no test image"):
        test = FolderLT(root, split='test', test_share=0.25)
    assert (train.class_counts, test.class_counts) == ([8, 3, 1], [2, 1, 0])
    assert not set(train.identities()) & set(test.identities())
    assert len({*train.identities(), *test.identities()}) == 15
    other = FolderLT(root, test_share=0.25, split_seed=1)
    assert other.class_counts == train.class_counts
    assert other.fingerprint != train.fingerprint


def test_a_number_of_test_images_a_class(tmp_path):
    root = grow(tmp_path, [10, 4])
    assert FolderLT(root, split='test', test_per_class=3).class_counts == [3, 3]
    assert FolderLT(root, split='train', test_per_class=3).class_counts == [7, 1]


def test_a_class_that_would_be_held_out_whole_is_named(tmp_path):
    one_line(grow(tmp_path, [5, 2], 'train'), held_out=2,
             match="held_out=2 takes all 2 images of class 'b'; lower it")


def test_held_out_images_come_from_the_training_part(tmp_path):
    root = grow(tmp_path, [10, 6])
    parts = [set(FolderLT(root, split=split, test_per_class=2, held_out=2).identities())
             for split in ('train', 'dev', 'test')]
    assert [len(part) for part in parts] == [8, 4, 4]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_in_memory_and_from_files_are_the_same_data(tmp_path):
    root = grow(tmp_path, [5, 3], 'train')
    files, memory = FolderLT(root), FolderLT(root, in_memory=True)
    assert files.fingerprint == memory.fingerprint
    assert files.__getitems__ is None
    batch = memory.__getitems__([6, 1])
    assert torch.equal(batch['inputs'], torch.stack([files[6]['inputs'], files[1]['inputs']]))
    assert batch['labels'].tolist() == [1, 0]


def test_nested_folders_and_unicode_names_are_found(tmp_path):
    picture(tmp_path / 'train' / 'über' / 'día 1' / 'ñandú.png', value=7)
    picture(tmp_path / 'train' / '猫' / '一.PNG', value=8)
    data = FolderLT(str(tmp_path))
    assert data.metainfo['classes'] == ['über', '猫']
    assert data.identities() == ['über/día 1/ñandú.png', '猫/一.PNG']
    assert [int(data[i]['inputs'][0, 0, 0]) for i in (0, 1)] == [7, 8]


def test_a_class_named_train_is_a_class(tmp_path):
    picture(tmp_path / 'train' / '1.png')
    picture(tmp_path / 'plane' / '1.png')
    assert FolderLT(str(tmp_path)).metainfo['classes'] == ['plane', 'train']


def test_classes_give_the_order_of_the_labels(tmp_path):
    root = grow(tmp_path, [1, 2, 3], 'train')
    data = FolderLT(root, classes=['c', 'a', 'b'])
    assert data.metainfo == dict(classes=['c', 'a', 'b'], class_counts=[3, 1, 2])


def test_files_that_are_no_images_are_ignored_aloud(tmp_path):
    root = grow(tmp_path, [2], 'train')
    (tmp_path / 'train' / 'a' / 'notes.txt').write_text('x')
    (tmp_path / 'train' / 'a' / '.DS_Store').write_text('x')
    with pytest.warns(UserWarning, match='1 files are ignored .* a/notes.txt'):
        assert len(FolderLT(root)) == 2


def test_wrong_folders_are_one_line(tmp_path):
    one_line(match='needs root=.*or csv=')
    one_line(str(tmp_path / 'absent'), match='absent is not a folder. Put the images there')
    one_line(str(tmp_path), match='holds no class folders')
    root = grow(tmp_path, [4, 4], 'train')
    one_line(root, split='test', match="no folder 'test', only train. Add test/<class>/")
    one_line(root, test_share=0.5, match='drop test_share')
    one_line(root, classes=['a'], match="has the folder 'b', which is not among the 1 classes")
    one_line(root, classes=['a', 'b', 'x'], match="names 'x', but .* has no such folder")
    picture(tmp_path / 'test' / 'z' / '1.png')
    one_line(root, split='test', match="has the folder 'z', which is not among the 2 classes")
    (tmp_path / 'train' / 'empty').mkdir()
    one_line(root, match='class folder .*empty holds no image')


def test_class_folders_without_a_test_set_say_how_to_draw_one(tmp_path):
    root = grow(tmp_path, [4, 4])
    assert FolderLT(root).class_counts == [4, 4]
    one_line(root, split='test', match="no split 'test'.*test_share=0.2")
    one_line(root, split='val', test_share=0.5, match='draws only a test set')
    one_line(root, test_share=2, match='test_share=2; it lies between 0 and 1')
    one_line(root, test_per_class=0, match='test_per_class=0; it is at least 1')
    one_line(root, test_share=0.5, test_per_class=1, match='drop one of them')
    one_line(root, verify='maybe', match="verify='maybe'; known: header, full, exists, none")


# Bad images.

def test_an_unreadable_image_stops_the_construction_or_is_left_out(tmp_path):
    root = grow(tmp_path, [4, 3], 'train')
    (tmp_path / 'train' / 'b' / '1.png').write_text('no image')
    message = r'1 image of 7 in .* cannot be read: b/1.png \(not an image\).*skip_bad_images=True'
    one_line(root, match=message)
    one_line(root, in_memory=True, match=message)
    one_line(root, verify='full', match=message)
    assert len(FolderLT(root, verify='none')) == 7
    for in_memory in (False, True):
        with pytest.warns(UserWarning, match='goes on without 1 image of 7: b/1.png'):
            data = FolderLT(root, in_memory=in_memory, skip_bad_images=True)
        assert data.skipped == ['b/1.png (not an image)']
        assert (data.class_counts, len(data)) == ([4, 2], 6)
        assert data.identities() == [*(f'a/{i}.png' for i in range(4)), 'b/0.png', 'b/2.png']
        assert int(data[5]['inputs'][0, 0, 0]) == 2


@pytest.mark.parametrize('name', ['half.png', 'half.jpg', 'half.bmp'])
def test_a_truncated_file_is_found_without_decoding_the_others(tmp_path, name):
    root = grow(tmp_path, [2], 'train')
    path = tmp_path / 'train' / 'a' / name
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert len(FolderLT(root, pipeline=RESIZE)) == 3
    path.write_bytes(path.read_bytes()[:2000])
    one_line(root, pipeline=RESIZE, match=f'a/{name} .*truncated')


def test_a_jpeg_with_bytes_after_its_end_is_fine(tmp_path):
    root = grow(tmp_path, [2], 'train')
    path = tmp_path / 'train' / 'a' / 'x.jpg'
    picture(path)
    path.write_bytes(path.read_bytes() + b'\0' * 500)
    assert len(FolderLT(root)) == 3


def test_a_class_with_bad_images_only_is_an_error(tmp_path):
    root = grow(tmp_path, [2, 1], 'train')
    (tmp_path / 'train' / 'b' / '0.png').write_text('no image')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        one_line(root, skip_bad_images=True, match="class 'b' has no usable train image")


def test_a_file_that_breaks_later_is_named(tmp_path):
    data = FolderLT(grow(tmp_path, [2], 'train'))
    os.remove(tmp_path / 'train' / 'a' / '1.png')
    with pytest.raises(DataError, match=r'a/1.png cannot be read \(no such file\)'):
        data[1]


def test_a_broken_file_is_named_where_only_sizes_are_read(tmp_path):
    root = grow(tmp_path, [2], 'train')
    (tmp_path / 'train' / 'a' / '1.png').write_text('no picture')
    one_line(root, verify='exists', match=r'a/1.png cannot be read \(not an image\)')


def test_different_sizes_need_a_pipeline(tmp_path):
    root = grow(tmp_path, [2], 'train')
    picture(tmp_path / 'train' / 'a' / 'wide.png', size=(9, 8))
    one_line(root, match='wide.png is 9x8 and .*0.png is 8x8: a batch needs one size. Add Resize')
    one_line(root, in_memory=True, match='wide.png is 9x8 .*images in memory need one size')
    assert FolderLT(root, pipeline=RESIZE)[2]['inputs'].shape == (3, 8, 8)


def test_a_batch_of_different_sizes_names_the_files_and_the_remedy(tmp_path):
    root = grow(tmp_path, [2], 'train')
    picture(tmp_path / 'train' / 'a' / 'wide.png', size=(16, 8))
    data = FolderLT(root, pipeline=[dict(type='Resize', size=4)])
    message = ('wide.png is 8x4 and .*0.png is 4x4 after pipeline: a batch needs one size. Add .*'
               r'size=\[4, 4\]\.$')
    with pytest.raises(DataError, match=message):
        collate_batch([data[0], data[1], data[2]])
    assert collate_batch([data[2]])['inputs'].shape == (1, 3, 4, 8)
    with pytest.raises(DataError, match='wide.png .* after val_dataloader.dataset.pipeline: '):
        check_loader(DataLoader(data, batch_size=2, collate_fn=collate_batch), 'val')
    check_loader(DataLoader(data, batch_size=1, collate_fn=collate_batch), 'val')


    with pytest.raises(DataError, match='after the pipeline of the run.* Bring the images to one '
                                        'size, or take one at a time: --batch-size 1'):
        collate_batch([data[1], data[2]], key=None)
    by_size = DataLoader(data, batch_sampler=[[0, 1], [2]], collate_fn=collate_batch)
    check_loader(by_size, 'train')
    assert [len(batch['inputs']) for batch in by_size] == [2, 1]


def test_samples_of_another_make_have_the_error_of_torch():
    views = [dict(inputs=[torch.zeros(3, size, size)] * 2) for size in (4, 5)]
    for batch in (views, [(sample['inputs'][0], 1) for sample in views]):
        with pytest.raises(RuntimeError, match='stack expects each tensor to be equal size'):
            collate_batch(batch)


def test_a_file_that_is_opened_at_the_first_image_is_left_closed_for_the_workers():
    class Lazy(Dataset):
        file = None

        def __getitem__(self, index):
            self.file = 'open'
            return dict(inputs=torch.zeros(3, 4, 4))

        def __len__(self):
            return 3

    dataset = Lazy()
    check_loader(DataLoader(dataset, batch_size=2, collate_fn=collate_batch), 'train')
    assert dataset.file is None and dataset[0] and dataset.file == 'open'


def test_images_that_are_tried_before_training_change_no_later_draw(tmp_path):
    data = FolderLT(grow(tmp_path, [3], 'train'), pipeline=[
        dict(type='RandomCrop', size=8, padding=4), dict(type='Cutout', length=2)])
    loader = DataLoader(data, batch_size=3, collate_fn=collate_batch)
    drawn = []
    for checked in (False, True):
        torch.manual_seed(0)
        if checked:
            check_loader(loader, 'train')
        drawn.append(next(iter(loader))['inputs'])
    assert torch.equal(*drawn)


# CSV.

def listing(root, *lines, header='path,label,split', name='list.csv', encoding='utf-8'):
    path = root / name
    path.write_text('\n'.join([header, *lines]) + '\n', encoding=encoding)
    return str(path)


@pytest.fixture
def pictures(tmp_path):
    grow(tmp_path, [4, 4])
    return tmp_path


def test_a_csv_gives_paths_labels_and_splits(pictures):
    path = listing(pictures, 'a/0.png,dog,train', 'b/1.png,cat,train', 'b/2.png,cat,test',
                   'a/3.png,dog,val', encoding='utf-8-sig')
    train = FolderLT(csv=path)
    assert train.metainfo == dict(classes=['cat', 'dog'], class_counts=[1, 1])
    assert (train.labels.tolist(), train.identities()) == ([1, 0], ['a/0.png', 'b/1.png'])
    with pytest.warns(UserWarning, match='has no (val|test) image'):
        assert FolderLT(csv=path, split='val').labels.tolist() == [1]
        assert int(FolderLT(str(pictures), csv=path, split='test')[0]['inputs'][0, 0, 0]) == 2


def test_numbers_as_labels_are_sorted_as_numbers(pictures):
    path = listing(pictures, 'a/0.png,10,train', 'a/1.png,9,train', 'a/2.png,9,train')
    assert FolderLT(csv=path).metainfo == dict(classes=['9', '10'], class_counts=[2, 1])


def test_numbers_as_labels_count_the_given_class_names(pictures):
    path = listing(pictures, 'a/0.png,1,train', 'a/1.png,0,train')
    data = FolderLT(csv=path, classes=['cat', 'dog'])
    assert (data.labels.tolist(), data.metainfo['classes']) == ([1, 0], ['cat', 'dog'])


def test_a_csv_without_splits_is_drawn_from(pictures):
    lines = [f'{c}/{i}.png,{c}' for c in 'ab' for i in range(4)]
    path = listing(pictures, *lines, header='path,label')
    train, test = (FolderLT(csv=path, split=split, test_per_class=1) for split in ('train', 'test'))
    assert (train.class_counts, test.class_counts) == ([3, 3], [1, 1])
    assert not set(train.identities()) & set(test.identities())


def test_absolute_paths_do_not_change_the_fingerprint(pictures):
    relative = listing(pictures, 'a/0.png,x,train')
    absolute = listing(pictures, f'{pictures}/a/0.png,x,train', name='other.csv')
    assert FolderLT(csv=relative).fingerprint == FolderLT(csv=absolute).fingerprint


def test_wrong_csvs_are_one_line(pictures):
    def wrong(*lines, match, header='path,label,split', **arguments):
        one_line(csv=listing(pictures, *lines, header=header), match=match, **arguments)

    one_line(csv=str(pictures / 'absent.csv'), match='absent.csv does not exist')
    wrong('a/0.png,a', header='path,label',
          match="lacks the column split: its first line is 'path,label'")
    wrong(header='path;label;split',
          match='lacks the column path, label, split.*separated by commas')
    wrong('a/0.png,a,training', match="line 2: path 'a/0.png', label 'a', split 'training'")
    wrong('a/0.png,,train', match="line 2: path 'a/0.png', label ''")
    wrong('a/0.png,a,train', '', './a/0.png,a,train',
          match='line 4: a/0.png was already listed in line 2')
    wrong('a/0.png,a,train', 'a/1.png,b,test', match="line 3: label 'b' is not among the 1 classes")
    wrong('a/0.png,a,train', match="lists no image with split 'test'", split='test')
    wrong('a/0.png,a,train', 'a/9.png,a,train', match=r'1 image of 2 .*a/9.png \(no such file\)')
    wrong('a/0.png,a,train', match='column split, so nothing is drawn', test_share=0.5)
    wrong('a/0.png,a,train', match="class 'b' has no usable train image", classes=['a', 'b'])
    wrong('a/0.png,-1,train', 'a/1.png,5,train', match="label '-1' is not among the 2",
          classes=['a', 'b'])


def test_files_that_are_only_looked_for_are_found_absent(pictures):
    path = listing(pictures, 'a/0.png,x,train', 'a/9.png,x,train')
    one_line(csv=path, verify='exists', pipeline=RESIZE,
             match=r'1 image of 2 .*a/9.png \(no such file\)')


def test_a_csv_beside_its_images_is_named_without_a_folder(tmp_path, monkeypatch):
    picture(tmp_path / '0.png')
    listing(tmp_path, '0.png,x,train')
    monkeypatch.chdir(tmp_path)
    for verify in ('exists', 'header'):
        assert FolderLT(csv='list.csv', verify=verify).class_counts == [1]


def test_a_csv_in_another_encoding_is_one_line(pictures):
    path = listing(pictures, 'a/0.png,é,train', encoding='latin-1')
    one_line(csv=path, match='is not UTF-8 text')


def test_images_beside_the_class_folders_are_named(tmp_path):
    for name in 'ab':
        (tmp_path / name).mkdir()
        Image.new('RGB', (4, 4)).save(tmp_path / name / '0.png')
    Image.new('RGB', (4, 4)).save(tmp_path / 'stray.png')
    with pytest.warns(UserWarning, match='1 images lie beside the class folders .* stray.png'):
        assert len(FolderLT(str(tmp_path))) == 2


def test_images_to_test_on_may_lie_there_alone(tmp_path):
    for name in 'ca':
        (tmp_path / 'test' / name).mkdir(parents=True)
        Image.new('RGB', (4, 4)).save(tmp_path / 'test' / name / '0.png')
    with pytest.raises(DataError, match='no folder train to take the class names from'):
        FolderLT(str(tmp_path), split='test')
    with pytest.warns(UserWarning, match="class 'b' has no test image"):
        found = FolderLT(str(tmp_path), split='test', classes=['a', 'b', 'c'])
    assert (found.labels.tolist(), found.class_counts) == ([0, 2], [1, 0, 1])
