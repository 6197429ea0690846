"""Which results are marked as selected on the test set."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ltcls.engine import recipe, stage
from ltcls.engine.prepare import Options, load_config
from ltcls.engine.recipe import run

NAME = 'ce_resnet20_digits'
BEST = 'best_accuracy_epoch_1.pth'
SMALL = {'model.backbone.depth': 8}
VALIDATED_ON = {
    'test': {},
    'test, read otherwise': {
        'val_dataloader.dataset.pipeline': [dict(type='RandomHorizontalFlip')]},
    'dev': {'train_dataloader.dataset.held_out': 2, 'val_dataloader.dataset.held_out': 2,
            'val_dataloader.dataset.split': 'dev'},
    'nothing': {'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None}}


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint with the weights of the beginning."""
    folder = tmp_path_factory.mktemp('run')
    run(NAME, Options(work_dir=folder, cfg_options={**SMALL, 'train_cfg.max_epochs': 0}))
    return folder / 'epoch_0.pth'


def test_an_open_set_read_otherwise_is_the_same_images():
    def loader(**known):
        return dict(dataset=dict(type='OpenSet', known=dict(type='DigitsLT', split='test', **known),
                                 unknown=dict(type='DigitsLT', split='test')))
    for known, same in ((dict(pipeline=[]), True), (dict(classes=['0', '1']), False)):
        cfg = Config(dict(val_dataloader=loader(**known), test_dataloader=loader()))
        assert stage.validates_on_test(cfg) is same


@pytest.mark.parametrize(('name', 'images', 'selected'), [
    (BEST, 'test', True), (BEST, 'test, read otherwise', True), (BEST, 'dev', False),
    (BEST, 'nothing', False),
    ('epoch_1.pth', 'test', False)])
def test_a_tested_checkpoint_is_selected_if_it_was_the_best_on_the_test_set(
        checkpoint, tmp_path, name, images, selected):
    options = Options(work_dir=tmp_path, cfg_options={**SMALL, **VALIDATED_ON[images]})
    cfg = load_config(NAME, options)
    assert stage.validates_on_test(cfg) is images.startswith('test')
    path = Path(shutil.copy(checkpoint, tmp_path / name))
    record = stage.test_checkpoint(Path(f'{NAME}.py'), cfg, path, options)
    assert record['selected_on_test'] is selected


@pytest.mark.parametrize('earlier', [True, False])
@pytest.mark.parametrize('which', ['last', 'best'])
def test_what_was_selected_on_the_test_set_stays_so_in_later_stages(
        monkeypatch, tmp_path, which, earlier):
    data = dict(train_dataloader=dict(dataset=dict(type='Digits')))
    below = Config(dict(data, work_dir=str(tmp_path), train_cfg=dict(max_epochs=1)))
    monkeypatch.setattr(recipe, '_run', lambda *a, **k: dict(selected_on_test=earlier))
    monkeypatch.setattr(recipe, 'validates_on_test', lambda cfg: False)
    for name in ('epoch_1.pth', BEST):
        (tmp_path / name).touch()
    cfg = Config(dict(data, work_dir=str(tmp_path / 'crt'),
                      init_from=dict(config='ce.py', checkpoint=which)))
    source, selected, _ = recipe._start([(Path('ce.py'), below), (Path('crt.py'), cfg)], Options())
    assert source.name == (BEST if which == 'best' else 'epoch_1.pth') and selected is earlier


@pytest.mark.parametrize(('name', 'meta', 'selected'), [
    (BEST, {}, True), ('epoch_1.pth', {}, False),
    ('epoch_1.pth', dict(selected_on_test=True), True)])
def test_a_file_to_start_from_is_taken_for_selected_by_its_name_or_what_it_says(
        tmp_path, name, meta, selected):
    torch.save(dict(meta=meta), tmp_path / name)
    cfg = Config(dict(work_dir='crt', init_from=dict(checkpoint=str(tmp_path / name))))
    assert recipe._start([(Path('crt.py'), cfg)], Options()) == (tmp_path / name, selected, False)


def test_a_checkpoint_tells_a_later_test_what_it_started_from_and_was_trained_on(
        checkpoint, tmp_path):
    best = Path(shutil.copy(checkpoint, tmp_path / BEST))
    path = tmp_path / 'crt_resnet20_digits.py'
    path.write_text(f"_base_ = 'ltcls::ce/{NAME}.py'\n"
                    f"init_from = dict(checkpoint='{best}', parts=['backbone', 'head'])\n")
    options = Options(work_dir=tmp_path / 'run', cfg_options={**SMALL, 'train_cfg.max_epochs': 0})
    trained = run(path, options)
    tested = stage.test_checkpoint(path, load_config(path, options),
                                   tmp_path / 'run' / 'epoch_0.pth', options)
    assert trained['selected_on_test'] is tested['selected_on_test'] is True
    assert trained['fingerprints'] == tested['fingerprints'] and 'train' in tested['fingerprints']
