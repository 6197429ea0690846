"""A run is not tested, resumed or built on with other images or classes than its own unnoticed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ltcls.cli import main

BASE = '''
_base_ = 'ltcls::ce/ce_resnet32_cifar10.py'
images = dict(type='FolderLT', root={root!r}, imbalance=None)
data_preprocessor = dict(num_classes=3)
model = dict(backbone=dict(depth=8))
train_dataloader = dict(batch_size=8, dataset=images)
val_dataloader = test_dataloader = dict(dataset=images)
param_scheduler = []
default_hooks = dict(checkpoint=dict(interval=1))
train_cfg = dict(max_epochs=2)
'''
CRT = '''
_base_ = './ce.py'
init_from = dict(config='ce.py', parts=['backbone'])
model = dict(frozen=['backbone'])
train_cfg = dict(max_epochs=1)
'''


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> Path:
    """Images of three classes, configs and a run of two epochs, in one folder."""
    folder = tmp_path_factory.mktemp('finished')
    for part in ('train', 'test'):
        for name in ('bee', 'cat', 'dog'):
            for number in range(4):
                add(folder / 'images' / part / name / f'{number}.png')
    write_configs(folder)
    assert main(['train', str(folder / 'ce.py'), '--work-dir', str(folder / 'ce')]) == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    copy = Path(shutil.copytree(finished, tmp_path / 'copy'))
    write_configs(copy)
    # The copy's config would be another one, of other images.
    text = (copy / 'ce' / 'config.json').read_text()
    (copy / 'ce' / 'config.json').write_text(text.replace(str(finished), str(copy)))
    return copy


def add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 32, 3), 99, np.uint8)).save(path)


def write_configs(folder: Path) -> None:
    (folder / 'ce.py').write_text(BASE.format(root=str(folder / 'images')))
    (folder / 'crt.py').write_text(CRT)


def rename_a_class(folder: Path) -> None:
    for part in ('train', 'test'):
        (folder / 'images' / part / 'bee').rename(folder / 'images' / part / 'wasp')


def unfinish(folder: Path) -> None:
    for name in ('epoch_2.pth', 'last_checkpoint', 'evaluation.json'):
        (folder / 'ce' / name).unlink()


def ltcls(folder: Path, capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(folder / word) if word.partition('/')[0] in ('ce', 'ce.py', 'crt', 'crt.py')
                   else word for word in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


TEST = ('test', 'ce.py', 'ce/epoch_2.pth')
RESUME = ('train', 'ce.py', '--work-dir', 'ce', '--resume')
LATER = ('train', 'crt.py', '--work-dir', 'crt')


def test_checkpoints_name_the_data(finished):
    meta = torch.load(finished / 'ce' / 'epoch_1.pth')['meta']
    assert {name: len(text) for name, text in meta['fingerprints'].items()} == dict(
        train=64, test=64)


@pytest.mark.parametrize('arguments', [TEST, RESUME, LATER], ids=['test', 'resume', 'crt'])
def test_the_same_images_go_on_without_a_word(folder, capsys, arguments):
    if arguments is RESUME:
        unfinish(folder)
    status, out, err = ltcls(folder, capsys, *arguments)
    assert (status, 'other test images' in out) == (0, False), err


def test_labels_that_mean_another_class_are_not_tested(folder, capsys):
    rename_a_class(folder)
    status, _, err = ltcls(folder, capsys, *TEST)
    assert status == 2 and len(err.splitlines()) == 1
    assert ("Class 0 was 'bee' when" in err and "epoch_2.pth was trained, and is 'cat' in "
            'test_dataloader.dataset: restore the classes' in err)


def test_other_images_are_not_trained_on_further(folder, capsys):
    unfinish(folder)
    add(folder / 'images' / 'train' / 'cat' / 'new.png')
    status, _, err = ltcls(folder, capsys, *RESUME)
    assert status == 2 and len(err.splitlines()) == 1
    assert 'epoch_1.pth was trained on other images (data ' in err
    assert f"restore them, or remove {folder / 'ce'}, or choose" in err


def test_a_stage_of_other_images_is_not_built_on(folder, capsys):
    add(folder / 'images' / 'train' / 'cat' / 'new.png')
    status, _, err = ltcls(folder, capsys, *LATER)
    assert status == 2 and 'the earlier stage ce was trained on other images' in err
    assert f"or remove {folder / 'ce'}, or choose a --work-dir in another folder than {folder} " in err
    status, out, err = ltcls(folder, capsys, *LATER[:-1], str(folder / 'elsewhere' / 'crt'))
    assert status == 0 and 'init from ce: backbone' in out, err


def start_from_the_file(folder: Path, parts: list[str]) -> None:
    path = str(folder / 'ce' / 'epoch_2.pth')
    with open(folder / 'crt.py', 'a') as file:
        file.write(f'init_from = dict(checkpoint={path!r}, parts={parts})\n')


def test_a_backbone_of_other_classes_is_taken_over(folder, capsys):
    rename_a_class(folder)
    start_from_the_file(folder, ['backbone'])
    status, out, err = ltcls(folder, capsys, *LATER)
    assert status == 0 and 'init from ce: backbone' in out, err


def test_a_head_of_other_classes_is_not_taken_over(folder, capsys):
    rename_a_class(folder)
    start_from_the_file(folder, ['backbone', 'head'])
    status, _, err = ltcls(folder, capsys, *LATER)
    assert status == 2 and "Class 0 was 'bee' when the earlier stage ce was trained" in err


@pytest.mark.parametrize('arguments', [TEST, RESUME], ids=['test', 'resume'])
def test_other_images_to_test_on_are_said(folder, capsys, arguments):
    if arguments is RESUME:
        unfinish(folder)
    add(folder / 'images' / 'test' / 'cat' / 'new.png')
    status, out, _ = ltcls(folder, capsys, *arguments)
    assert status == 0 and 'was trained beside other test images (data ' in out


def test_checkpoints_that_say_nothing_of_their_data_are_used(folder, capsys):
    path = folder / 'ce' / 'epoch_2.pth'
    content = torch.load(path)
    del content['meta']['fingerprints'], content['meta']['dataset_meta']
    torch.save(content, path)
    add(folder / 'images' / 'test' / 'cat' / 'new.png')
    status, out, _ = ltcls(folder, capsys, *TEST)
    assert status == 0 and 'other test images' not in out
