"""`ltcls predict`: the classes of files, as the run's own test finds them."""

import csv
import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from ltcls.analysis.prediction import NewImages, Prediction, write_predictions
from ltcls.cli import main
from ltcls.datasets.decoding import fast_reader
from ltcls.evaluation.record import read_record

CONFIG = '''
_base_ = 'ltcls::ce/ce_resnet32_cifar10.py'
images = dict(type='FolderLT', root={root!r}, imbalance=None, {more})
data_preprocessor = dict(num_classes=3)
model = dict(backbone=dict(depth=8))
train_dataloader = dict(batch_size=8, dataset=images)
val_dataloader = test_dataloader = dict(dataset=images)
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = []
default_hooks = dict(checkpoint=dict(interval=1))
train_cfg = dict(max_epochs=2, val_interval=2)
'''
RESIZED = "pipeline=[dict(type='Resize', size=[16, 16])]"


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Noisy images of three colours, 12 of each class to train on and 8 to test on."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp('images')
    for label, name in enumerate(('blue', 'green', 'red')):
        for part, count in (('train', 12), ('test', 8)):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                noise = torch.rand(20, 20, 3)
                noise[..., 2 - label] += 0.2
                pixels = (255 * noise / 1.2).byte().numpy()
                Image.fromarray(pixels).save(root / part / name / f'{number}.png')
    return root


@pytest.fixture(scope='module')
def run(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    config = folder / 'colours.py'
    config.write_text(CONFIG.format(root=str(images), more=RESIZED))
    assert main(['train', str(config), '--work-dir', str(folder / 'run'), '--seed', '0']) == 0
    return folder / 'run'


def rows_of(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_the_predictions_are_those_of_the_runs_own_test(images, run, tmp_path, capsys):
    out = tmp_path / 'found' / 'predictions.csv'
    assert main(['predict', str(run), str(images / 'test'), '-o', str(out), '--top', '9',
                 '--batch-size', '5']) == 0
    rows = rows_of(out)
    said = capsys.readouterr().out
    assert len(rows) == 24 and f'24 images in {out}' in said and '... and 4 more' in said
    for entry in read_record(run / 'evaluation.json')['per_class']:
        mine = [row for row in rows if f"/{entry['name']}/" in row['path']]
        right = sum(row['class'] == entry['name'] for row in mine)
        assert 100 * right / len(mine) == pytest.approx(entry['accuracy'], abs=0.01)
    for row in rows:
        shares = [float(row[f'probability{place}']) for place in ('', '2', '3')]
        assert shares == sorted(shares, reverse=True) and abs(sum(shares) - 1) < 1e-5
        assert {row['class'], row['class2'], row['class3']} == {'blue', 'green', 'red'}


def test_a_file_alone_is_predicted_as_among_others(images, run, tmp_path):
    path = images / 'test' / 'red' / '3.png'
    for name, places in (('one', [path]), ('all', [images / 'test', path])):
        assert main(['predict', str(run), *map(str, places), '-o', str(tmp_path / name)]) == 0
    [one] = rows_of(tmp_path / 'one')
    everything = rows_of(tmp_path / 'all')
    assert len(everything) == 24                 # named twice, predicted once
    [same] = [row for row in everything if row['path'] == str(path)]
    assert same['class'] == one['class']
    assert float(same['probability']) == pytest.approx(float(one['probability']), abs=1e-5)


def test_grey_images_are_made_grey_and_of_the_right_size(tmp_path, capsys):
    config = tmp_path / 'ce_resnet8_digits.py'
    config.write_text("_base_ = 'ltcls::ce/ce_resnet20_digits.py'\nparam_scheduler = []\n"
                      'model = dict(backbone=dict(depth=8))\ntrain_cfg = dict(max_epochs=1)\n')
    assert main(['train', str(config), '--work-dir', str(tmp_path / 'run')]) == 0
    Image.new('RGB', (8, 8), (255, 255, 255)).save(tmp_path / 'digit.png')
    Image.new('RGB', (9, 8)).save(tmp_path / 'wide.png')
    out = str(tmp_path / 'out.csv')
    assert main(['predict', str(tmp_path / 'run'), str(tmp_path / 'digit.png'), '-o', out]) == 0
    assert rows_of(out)[0]['class'] in '0123456789'
    capsys.readouterr()
    assert main(['predict', str(tmp_path / 'run'), str(tmp_path / 'wide.png'), '-o', out]) == 2
    assert 'wide.png is 9x8, and the run takes images of 8x8 as they are' in capsys.readouterr().err


def test_a_name_that_is_no_utf8_is_written_as_it_is(tmp_path):
    path = os.fsdecode(b'caf\xe9.png')
    write_predictions([Prediction(path, ['a'], [0.5])], tmp_path / 'found.csv')
    assert b'\ncaf\xe9.png,a,0.500000' in (tmp_path / 'found.csv').read_bytes()


def test_what_cannot_be_predicted_is_one_line(images, run, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken.png').write_bytes(b'no image')
    for place, message in ((tmp_path / 'nowhere', 'There is no image or folder'),
                           (tmp_path / 'empty', 'empty holds no image'),
                           (tmp_path / 'broken.png', 'broken.png (not an image)')):
        assert main(['predict', str(run), str(place)]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count('\n') == 1
    (tmp_path / 'many').mkdir()
    for number in range(7):
        (tmp_path / 'many' / f'{number}.png').write_bytes(b'no image')
    assert main(['predict', str(run), str(tmp_path / 'many')]) == 2
    assert '4.png (not an image) and 2 more. Remove them' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['predict', str(run), str(images), '--top', '0'])
    assert "'0' must be a number from 1 on" in capsys.readouterr().err
    copy = shutil.copytree(run, tmp_path / 'copy')
    for path in copy.glob('*.pth'):
        path.unlink()
    assert main(['predict', str(copy), str(images / 'test')]) == 2
    assert 'There is no checkpoint' in capsys.readouterr().err


def test_what_is_no_finished_run_is_answered_with_what_works(images, run, tmp_path, capsys):
    copy, picture = shutil.copytree(run, tmp_path / 'copy'), str(images / 'test' / 'red' / '3.png')
    for name in ('evaluation.json', 'last_checkpoint', 'epoch_2.pth'):
        (copy / name).unlink()
    (tmp_path / 'empty').mkdir()
    here = ['--work-dir', str(copy)]
    for place, message in (
            (tmp_path / 'nowhere', f'There is no folder {tmp_path}/nowhere.'),
            (tmp_path / 'empty', 'empty holds neither a record, evaluation.json, nor a checkpoint'),
            (copy / 'epoch_1.pth', f'is a file: name the folder of a run, such as {copy}.'),
            (copy, 'copy holds epoch_1.pth and no record, evaluation.json: finish the run with '
                   f"--resume, or record its newest checkpoint with `ltcls test CONFIG {copy} "
                   f"{' '.join(here)}`, with the config")):
        for command in (['predict', str(place), picture], ['report', str(place)]):
            assert main(command) == 2
            said = capsys.readouterr().err
            assert message in said and said.count('\n') == 1
    config = str(run.parent / 'colours.py')
    assert main(['test', config, str(copy), *here]) == 0
    assert read_record(copy / 'evaluation.json')['epoch'] == 1
    assert main(['predict', str(copy), picture, '-o', str(tmp_path / 'out.csv')]) == 0
    assert main(['report', str(copy), '-o', str(tmp_path / 'report.html')]) == 0
    # Killed in the test of its last epoch, the run is not taken for tested.
    shutil.copy(run / 'epoch_2.pth', copy)
    assert main(['train', config, *here, '--seed', '0', '--resume']) == 0
    assert read_record(copy / 'evaluation.json')['epoch'] == 2


def test_backend_and_pipeline_are_those_of_the_known_images_of_an_open_set(tmp_path):
    Image.new('RGB', (8, 8), (255, 0, 0)).save(tmp_path / 'red.jpg')
    known = dict(type='FolderLT', backend='torchvision', pipeline=[dict(type='Resize', size=4)])
    run = SimpleNamespace(config=dict(
        data_preprocessor=dict(mean=[0.5] * 3),
        test_dataloader=dict(dataset=dict(type='OpenSet', known=known))))
    found = NewImages([str(tmp_path / 'red.jpg')], run)
    assert found.read is fast_reader('torchvision')
    assert found[0]['inputs'].shape == (3, 4, 4)
