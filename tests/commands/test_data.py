"""`ltcls data check` and `ltcls data link`."""

import gzip
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from ltcls.cli import main
from ltcls.datasets import ImageNetLT, INaturalist, PlacesLT, inaturalist
from ltcls.datasets.listed import Expected

NAMES = ('airfield', 'bar-sushi')
TWO = ('--cfg-options', 'data_preprocessor.num_classes=2')


def jpeg(value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new('RGB', (8, 8), (value, 0, 0)).save(file, 'JPEG')
    return file.getvalue()


def tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w:gz' if path.name.endswith('gz') else 'w') as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The published files of a Places-LT of two classes, in a folder of downloads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PlacesLT, 'num_classes', 2)
    monkeypatch.setattr(PlacesLT, 'groups', None)
    monkeypatch.setattr(PlacesLT, 'expected', dict(
        train=Expected(3), val=Expected(2), test=Expected(2)))
    downloads = tmp_path / 'downloads'
    small = tar(downloads / 'train_256_places365standard.tar', {
        f"data_256/{name[0]}/{name.replace('-', '/')}/{i}.jpg": jpeg(i)
        for name in NAMES for i in range(4)})
    val = tar(downloads / 'val_256.tar', {f'val_256/v{i}.jpg': jpeg() for i in range(3)})
    lists = [downloads / f'Places_LT_{split}.txt' for split in ('train', 'val', 'test')]
    lists[0].write_text('train/airfield/0.jpg 0\ntrain/airfield/1.jpg 0\ntrain/bar-sushi/0.jpg 1\n')
    lists[1].write_text('train/airfield/2.jpg 0\ntrain/bar-sushi/1.jpg 1\n')
    lists[2].write_text('val/airfield/v0.jpg 0\nval/bar-sushi/v1.jpg 1\n')
    return [str(path) for path in (small, val, *lists)]


def images(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob('*')
            if path.suffix in ('.jpg', '.JPEG', '.part')}


def test_archives_and_lists_become_a_data_set_of_the_listed_images_alone(places, capsys):
    assert main(['data', 'link', *places]) == 0
    assert images('data/places') == {
        'data_256/a/airfield/0.jpg', 'data_256/a/airfield/1.jpg', 'data_256/a/airfield/2.jpg',
        'data_256/b/bar/sushi/0.jpg', 'data_256/b/bar/sushi/1.jpg', 'val_256/v0.jpg',
        'val_256/v1.jpg'}
    for split, count in (('train', 3), ('val', 2), ('test', 2)):
        assert len(PlacesLT(root='data/places', split=split)) == count
    assert 'train_256_places365standard.tar: 5 files into data/places' in capsys.readouterr().out
    assert main(['data', 'link', *places]) == 0
    assert 'standard.tar: 0 files into data/places, 5 were there' in capsys.readouterr().out


def test_everything_is_unpacked_on_demand_and_without_lists(places):
    assert main(['data', 'link', *places[:2], '--root', 'whole']) == 0
    assert len(images('whole')) == 11
    assert main(['data', 'link', *places, '--root', 'all', '--all']) == 0
    assert len(images('all')) == 11


def test_lists_in_their_own_folder_say_what_is_unpacked_too(places):
    lists = Path('data/places/lists')
    lists.mkdir(parents=True)
    for path in places[2:]:
        Path(path).rename(lists / Path(path).name)
    assert main(['data', 'link', *places[:2]]) == 0
    assert len(images('data/places')) == 7
    assert len(PlacesLT(root='data/places')) == 3


def test_a_damaged_archive_is_named_and_what_came_before_is_kept(places, capsys):
    path = Path(places[0])
    content = path.read_bytes()
    path.write_bytes(content[:2600])                     # the third file is cut off
    assert main(['data', 'link', places[0]]) == 2
    assert 'standard.tar is damaged or cut off' in capsys.readouterr().err
    kept = images('data/places')
    assert kept and not {name for name in kept if name.endswith('.part')}
    path.write_bytes(content)
    assert main(['data', 'link', places[0]]) == 0
    assert len(images('data/places')) == 8


def test_the_training_archive_of_imagenet_is_one_of_archives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ImageNetLT, 'num_classes', 2)
    monkeypatch.setattr(ImageNetLT, 'groups', None)
    monkeypatch.setattr(ImageNetLT, 'expected', dict(train=Expected(2), test=Expected(2)))
    classes = {f'n0{label}.tar': tar(tmp_path / 'inner' / f'n0{label}.tar', {
        f'n0{label}_{i}.JPEG': jpeg() for i in range(3)}).read_bytes() for label in (1, 2)}
    whole = tar(tmp_path / 'ILSVRC2012_img_train.tar', classes)
    val = tar(tmp_path / 'ILSVRC2012_img_val.tar', {f'v{i}.JPEG': jpeg() for i in (1, 2)})
    lists = [tmp_path / 'ImageNet_LT_train.txt.gz', tmp_path / 'ImageNet_LT_test.txt']
    lists[0].write_bytes(gzip.compress(b'train/n01/n01_2.JPEG 0\ntrain/n02/n02_0.JPEG 1\n'))
    lists[1].write_text('val/n01/v1.JPEG 0\nval/n02/v2.JPEG 1\n')
    assert main(['data', 'link', str(whole), str(val), *map(str, lists)]) == 0
    assert images('data/imagenet') == {'train/n01/n01_2.JPEG', 'train/n02/n02_0.JPEG',
                                       'val/v1.JPEG', 'val/v2.JPEG'}
    assert ImageNetLT(root='data/imagenet').class_counts == [1, 1]
    assert ImageNetLT(root='data/imagenet', split='test').layout == 'flat-val'


def annotations(paths: list[str]) -> bytes:
    return json.dumps(dict(
        images=[dict(id=i, file_name=path) for i, path in enumerate(paths)],
        annotations=[dict(id=i, image_id=i, category_id=i) for i in range(len(paths))])).encode()


def test_both_years_of_inaturalist_unpack_beside_their_annotations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for year in (2017, 2018):
        monkeypatch.setitem(inaturalist.YEARS, year, dict(
            num_classes=2, groups=None, archives='', expected=dict(train=Expected(2))))
    paths = ['train_val2018/Aves/0/a.jpg', 'train_val2018/Aves/1/b.jpg']
    sources = [tar(tmp_path / 'train_val2018.tar.gz', {path: jpeg() for path in paths}),
               tar(tmp_path / 'train2018.json.tar.gz', {'x/train2018.json': annotations(paths)})]
    older = ['train_val_images/Aves/Corvus corax/a.jpg', 'train_val_images/Aves/Pica pica/b.jpg']
    sources.append(tar(tmp_path / 'train_val_images.tar.gz', {path: jpeg() for path in older}))
    with zipfile.ZipFile(tmp_path / 'train_val2017.zip', 'w') as archive:
        archive.writestr('train_val2017/train2017.json', annotations(older))
    sources.append(tmp_path / 'train_val2017.zip')
    assert main(['data', 'link', *map(str, sources)]) == 0
    assert len(INaturalist(root='data/inat2018')) == 2
    assert INaturalist(root='data/inat2017', year=2017).classes[0] == 'Aves/Corvus corax'


@pytest.mark.parametrize('name, member, place', [
    ('places365standard_easyformat.tar', 'places365_standard/train/zoo/1.jpg',
     'places/train/zoo/1.jpg'),
    ('train_large_places365standard.tar', 'data_large/z/zoo/1.jpg',
     'places/data_large/z/zoo/1.jpg'),
    ('val_large.tar', 'val_large/v1.jpg', 'places/val_large/v1.jpg'),
    ('val2018.json.tar.gz', 'val2018.json', 'inat2018/val2018.json'),
    ('cifar-10-python.tar.gz', 'cifar-10-batches-py/test_batch',
     'cifar10/cifar-10-batches-py/test_batch'),
    ('cifar-100-python.tar.gz', 'cifar-100-python/test', 'cifar100/cifar-100-python/test')])
def test_other_archives_unpack_to_where_the_shipped_configs_look(tmp_path, monkeypatch, name,
                                                                 member, place):
    monkeypatch.chdir(tmp_path)
    assert main(['data', 'link', str(tar(tmp_path / name, {member: b'x'}))]) == 0
    assert [path.relative_to('data').as_posix()
            for path in Path('data').rglob('*') if path.is_file()] == [place]


def test_lists_annotations_and_folders_are_linked_to_where_the_shipped_configs_look(
        tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    homes = {'ImageNet_LT_val.txt': 'imagenet', 'Places_LT_train.txt.gz': 'places',
             'iNaturalist18_train.txt': 'inat2018', 'val2018.json': 'inat2018',
             'train2017.json': 'inat2017', 'val_large': 'places', 'data_256': 'places',
             'train_val2018': 'inat2018', 'train_val_images': 'inat2017'}
    for name in homes:
        (tmp_path / name).write_text('') if '.' in name else (tmp_path / name).mkdir()
    assert main(['data', 'link', *homes]) == 0
    assert all((tmp_path / 'data' / home / name).is_symlink() for name, home in homes.items())


def test_unpacked_folders_are_linked(places, tmp_path):
    assert main(['data', 'link', places[0], '--root', 'unpacked']) == 0
    assert main(['data', 'link', 'unpacked/data_256', *places[2:]]) == 0
    assert Path('data/places/data_256').is_symlink()
    assert len(PlacesLT(root='data/places')) == 3


@pytest.mark.parametrize('name, content, problem', [
    ('nothing.tar', None, 'nothing.tar does not exist'),
    ('places.tar', {}, 'places.tar is not the name of a published file'),
    ('val_256.tar', {'../out.jpg': b'x'}, 'leads out of its folder'),
    ('val_256.tar', {'{root}/out.jpg': b'x'}, 'leads out of its folder')])
def test_what_is_not_a_published_file_is_refused(tmp_path, monkeypatch, capsys, name, content,
                                                 problem):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        tar(tmp_path / name, {path.format(root=tmp_path): data for path, data in content.items()})
    assert main(['data', 'link', name]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / 'out.jpg').exists() and not (tmp_path / 'data' / 'out.jpg').exists()


def test_another_file_in_the_place_of_a_link_is_not_overwritten(places, capsys):
    Path('data/places').mkdir(parents=True)
    Path('data/places/Places_LT_train.txt').write_text('mine')
    assert main(['data', 'link', places[2]]) == 2
    assert 'Remove it, or choose another folder with --root' in capsys.readouterr().err
    assert Path('data/places/Places_LT_train.txt').read_text() == 'mine'


# Checking.

def test_a_config_whose_data_is_there_gets_a_row_for_each_data_set(places, capsys):
    main(['data', 'link', *places])
    capsys.readouterr()
    assert main(['data', 'check', 'ce_resnet152_places', '--verify', 'full', *TWO]) == 0
    rows = [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in capsys.readouterr().out.splitlines() if line.startswith('|')][1:]
    assert [row[:6] for row in rows] == [
        ['train', 'train', '3', '2', '2 to 1', '0 / 0 / 2'],
        ['val', 'val', '2', '2', '1 to 1', '0 / 0 / 2'],
        ['test', 'test', '2', '2', '1 to 1', '0 / 0 / 2']]


def test_one_message_says_what_is_missing_where_and_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for config, archive in (('ce_resnet50_imagenet', 'ILSVRC2012_img_train.tar'),
                            ('ce_resnet152_places', 'places365standard_easyformat.tar'),
                            ('ce_resnet50_inat', 'train_val2018.tar.gz'),
                            ('ce_resnet50_inat17', 'train_val_images.tar.gz')):
        assert main(['data', 'check', config]) == 2
        said = capsys.readouterr()
        assert said.out == '' and len(said.err.splitlines()) == 1
        assert str(tmp_path / 'data') in said.err and archive in said.err


def test_training_without_the_data_ends_with_the_same_message(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['train', 'ce_resnet32_imagenet']) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and 'shows where' not in said
    assert f'ImageNet-LT was not found: {tmp_path}/data/imagenet' in said


def test_a_development_set_is_checked_too(capsys):
    assert main(['data', 'check', 'ce_resnet20_digits', '--cfg-options',
                 'train_dataloader.dataset.held_out=2']) == 0
    out = capsys.readouterr().out
    assert '| val, test | test ' in out and '| dev       | dev   | 20 ' in out


def test_problems_of_one_data_set_do_not_hide_the_others(places, capsys):
    main(['data', 'link', *places])
    Path('data/places/val_256/v1.jpg').unlink()
    capsys.readouterr()
    assert main(['data', 'check', 'ce_resnet152_places', *TWO]) == 2
    said = capsys.readouterr()
    assert said.out.count('\n| ') == 3
    assert said.err.startswith('error: test: 1 of 2 test images of Places-LT are missing')


def test_an_open_set_is_checked_with_its_development_images(tmp_path, capsys):
    path = tmp_path / 'open.py'
    path.write_text("""
_base_ = 'ltcls::ce/ce_resnet20_digits.py'
data_preprocessor = dict(num_classes=8)
images = dict(_delete_=True, type='OpenSet', held_out=['8', '9'],
              known=dict(type='DigitsLT', split='train', imbalance=10, held_out=2))
train_dataloader = dict(dataset=images)
val_dataloader = test_dataloader = dict(dataset=dict(
    _delete_=True, type='OpenSet', held_out=['8', '9'], known=dict(type='DigitsLT', split='test')))
""")
    assert main(['data', 'check', str(path), '--verify', 'header']) == 0
    rows = [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    found = {row[0]: row[1:4] for row in rows}
    assert found['train'][0] == 'train' and found['train'][2] == '8'
    assert found['dev'] == ['dev', '16', '8']


def test_another_number_of_classes_than_the_model_has_is_a_problem(capsys):
    assert main(['data', 'check', 'ce_resnet20_digits', '--cfg-options',
                 'data_preprocessor.num_classes=9']) == 2
    assert 'The data have 10 classes, the model 9: set' in capsys.readouterr().err


def test_missing_images_are_left_out_on_demand_and_that_is_said(places, capsys):
    main(['data', 'link', *places])
    Path('data/places/data_256/a/airfield/1.jpg').unlink()
    capsys.readouterr()
    assert main(['data', 'check', 'ce_resnet152_places', '--skip-bad-images', *TWO]) == 0
    said = capsys.readouterr()
    [row] = [line.split('|') for line in said.out.splitlines() if line.startswith('| train ')]
    assert (row[3].strip(), row[7].strip()) == ('2', '1')
    assert said.err.startswith('warning: ') and '1.jpg' in said.err


@pytest.fixture
def wide(tmp_path):
    """A config whose test images are not all square, and leave the pipeline so."""
    for split, size in (('train', (8, 8)), ('test', (12, 8))):
        for name in 'ab':
            for i in range(2):
                path = tmp_path / 'images' / split / name / f'{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new('RGB', size if (name, i) == ('b', 1) else (8, 8)).save(path)
    path = tmp_path / 'wide_resnet8_digits.py'
    path.write_text(f"""
_base_ = 'ltcls::ce/ce_resnet32_cifar10.py'
images = dict(type='FolderLT', root={str(tmp_path / 'images')!r}, imbalance=None,
              pipeline=[dict(type='Resize', size=8)])
data_preprocessor = dict(num_classes=2)
model = dict(backbone=dict(depth=8))
train_dataloader = val_dataloader = test_dataloader = dict(dataset=images)
train_cfg = dict(max_epochs=1)
param_scheduler = []
""")
    return str(path)


WIDE = (r'images/test/b/1.png is 12x8 and \S*images/test/a/0.png is 8x8 after '
        r'{}_dataloader.dataset.pipeline: a batch needs one size. Add CenterCrop or '
        r'RandomResizedCrop to it, or give Resize both sides: size=\[8, 8\]\.$')


def test_images_that_the_pipeline_leaves_unequal_are_found(wide, capsys):
    assert main(['data', 'check', wide]) == 2
    said = capsys.readouterr()
    assert '| train ' in said.out and re.search(f"^error: val, test: .*{WIDE.format('val')}",
                                                said.err.strip())
    square = 'test_dataloader.dataset.pipeline.0.size=[8,8]'
    assert main(['data', 'check', wide, '--cfg-options', square,
                 square.replace('test', 'val', 1)]) == 0
    assert main(['data', 'check', wide, '--cfg-options', 'test_dataloader.batch_size=1',
                 'val_dataloader.batch_size=1']) == 0


def test_images_that_the_pipeline_leaves_unequal_are_found_before_training(wide, tmp_path, capsys):
    arguments = ['train', wide, '--work-dir', str(tmp_path / 'run'), '--cfg-options']
    assert main([*arguments, 'val_dataloader=None', 'val_cfg=None', 'val_evaluator=None']) == 2
    said = capsys.readouterr()
    assert re.search(WIDE.format('test'), said.err.strip()) and 'epoch' not in said.out


def test_listed_images_that_the_pipeline_leaves_unequal_are_found(places, capsys):
    main(['data', 'link', *places])
    Image.new('RGB', (8, 16)).save('data/places/data_256/b/bar/sushi/0.jpg')
    capsys.readouterr()
    Path('mine.py').write_text("""
_base_ = 'ltcls::ce/ce_resnet152_places.py'
train_dataloader = dict(dataset=dict(pipeline=[dict(type='Resize', size=4)]))
""")
    assert main(['data', 'check', 'mine.py', *TWO]) == 2
    assert re.search(r'^error: train: \S*bar/sushi/0.jpg is 4x8 and \S*airfield/0.jpg is 4x4 after '
                     'train_dataloader.dataset.pipeline: ', capsys.readouterr().err)


def test_verification_reaches_both_parts_of_an_open_set_and_shared_images_are_a_problem(
        tmp_path, capsys):
    for number, name in enumerate('abc'):
        (tmp_path / 'pool' / name).mkdir(parents=True)
        for i in range(6):
            (tmp_path / 'pool' / name / f'{i}.jpg').write_bytes(jpeg(10 * number + i))
    (tmp_path / 'pool' / 'b' / '3.jpg').write_text('no image')
    path = tmp_path / 'open.py'
    path.write_text(f"""
_base_ = 'ltcls::ce/ce_resnet32_cifar10.py'
data_preprocessor = dict(num_classes=2)
pool = dict(type='FolderLT', root={str(tmp_path / 'pool')!r}, imbalance=None, test_per_class=2,
            pipeline=[dict(type='Resize', size=8)])
train_dataloader = dict(dataset=dict(_delete_=True, type='OpenSet', held_out=['c'], known=pool))
val_dataloader = test_dataloader = dict(dataset=dict(
    _delete_=True, type='OpenSet', held_out=['c'],
    known=dict(type='FolderLT', root={str(tmp_path / 'pool')!r}, split='test', test_per_class=3,
               pipeline=[dict(type='Resize', size=8)])))
""")
    assert main(['data', 'check', str(path)]) == 2
    assert 'b/3.jpg (not an image)' in capsys.readouterr().err
    assert main(['data', 'check', str(path), '--verify', 'exists']) == 2
    said = capsys.readouterr().err
    assert 'not an image' not in said and 'are also in train_dataloader.dataset' in said
