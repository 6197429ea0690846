"""Killed and resumed: final weights bit for bit those of a run that nobody disturbed."""

import json
import shutil

import pytest
import torch
from processes import command

FIRST = '''
_base_ = 'ltcls::gcl/gcl_resnet20_digits.py'
custom_imports = dict(imports=['lt_test_hooks'])
model = dict(backbone=dict(depth=8))
data_preprocessor = dict(mixing=dict(type='Mixup', alpha=1.0))
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=[
    dict(type='RandomCrop', size=8, padding=1)]))
param_scheduler = [dict(type='LinearLR', start_factor=0.2, end=2),
                   dict(type='CosineAnnealingLR', begin=2, T_max=2)]
default_hooks = dict(checkpoint=dict(interval=2))
custom_hooks = [dict(type='DeferredReweightHook', begin=2), dict(type='KillHook')]
train_cfg = dict(max_epochs=4, val_interval=1)
'''
SECOND = '''
_base_ = './gcl_resnet8_digits.py'
init_from = dict(config='gcl_resnet8_digits.py', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], loss=dict(margin=0.1, focal_gamma=1.0))
train_dataloader = dict(sampler=dict(type='CBENSampler', beta=(0.9999, 0.99991)))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=3)]
default_hooks = dict(checkpoint=dict(interval=1, save_best='accuracy'))
train_cfg = dict(max_epochs=3)
'''
STAGES = dict(gcl=('gcl_resnet8_digits', 4), crt=('gcl-crt_resnet8_digits', 3))
KILLED = {
    'in the middle of an epoch of the first stage': ['gcl after_train_iter 3 2'],
    'before the first checkpoint': ['gcl after_train_iter 1 4'],
    'in a validation whose epoch is saved, in both stages': [
        'gcl after_val_iter 2 0', 'crt after_val_iter 2 0'],
    'after training and before the test': ['gcl after_train 4 0'],
    'after the test and before its record': ['gcl after_test 4 0'],
    'between the stages': ['crt before_train 0 0'],
    'in the middle of an epoch of the second stage': ['crt after_train_iter 2 3'],
    'in both stages': ['gcl after_train_iter 2 1', 'crt after_train_iter 1 5'],
}


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    (folder / 'gcl_resnet8_digits.py').write_text(FIRST)
    (folder / 'gcl-crt_resnet8_digits.py').write_text(SECOND)
    return folder / 'gcl-crt_resnet8_digits.py'


def train(recipe, folder, *more, **environment):
    work_dir = folder / STAGES['crt'][0]
    return command('train', recipe, '--work-dir', work_dir, *more, output=folder / 'out.txt',
                   **environment)


@pytest.fixture(scope='module')
def undisturbed(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp('undisturbed')
    assert train(recipe, folder) == 0, (folder / 'out.txt').read_text()
    return folder


def assert_same(folder, other):
    for name, epochs in STAGES.values():
        states = [torch.load(f / name / f'epoch_{epochs}.pth') for f in (folder, other)]
        assert states[0]['state_dict'].keys() == states[1]['state_dict'].keys()
        for key, value in states[0]['state_dict'].items():
            assert torch.equal(value, states[1]['state_dict'][key]), f'{name}: {key}'
        momenta = [[s['momentum_buffer'] for s in state['optimizer']['state'].values()]
                   for state in states]
        assert all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))
        assert states[0]['param_schedulers'] == states[1]['param_schedulers']
        best = [{path.name: torch.load(path)['state_dict']['head.weight']
                 for path in (f / name).glob('best_*')} for f in (folder, other)]
        assert best[0].keys() == best[1].keys() and len(best[0]) == (name == STAGES['crt'][0])
        assert all(torch.equal(value, best[1][key]) for key, value in best[0].items())
        logs = [[json.loads(line) for line in (f / name / 'log.jsonl').read_text().splitlines()]
                for f in (folder, other)]
        for log in logs:
            assert [entry['epoch'] for entry in log] == list(range(1, epochs + 1))
        assert [(e['loss'], e['lr'], e['val']) for e in logs[0]] == [
            (e['loss'], e['lr'], e['val']) for e in logs[1]]
        records = [json.loads((f / name / 'evaluation.json').read_text()) for f in (folder, other)]
        for key in ('overall', 'groups', 'per_class', 'calibration', 'fingerprints', 'seed',
                    'epoch', 'best', 'config'):
            assert records[0][key] == records[1][key], f'{name}: {key}'


@pytest.mark.parametrize('moments', KILLED.values(), ids=[k.replace(' ', '-') for k in KILLED])
def test_a_killed_run_ends_like_an_undisturbed_one(recipe, undisturbed, tmp_path, moments):
    for number, moment in enumerate(moments):
        stage, _, event = moment.partition(' ')
        status = train(recipe, tmp_path, *['--resume'][:number],
                       LTCLS_TEST_KILL=f'{STAGES[stage][0]} {event}')
        assert status == -9, (tmp_path / 'out.txt').read_text()
    assert train(recipe, tmp_path, '--resume') == 0, (tmp_path / 'out.txt').read_text()
    assert_same(tmp_path, undisturbed)


def test_a_folder_that_was_moved_resumes(recipe, undisturbed, tmp_path):
    before, after = tmp_path / 'before', tmp_path / 'after'
    before.mkdir()
    name = STAGES['gcl'][0]
    assert train(recipe, before, LTCLS_TEST_KILL=f'{name} after_train_iter 2 0') == -9
    assert str(before) in (before / name / 'last_checkpoint').read_text()
    shutil.move(before, after)
    assert train(recipe, after, '--resume') == 0
    assert 'continuing from epoch_2.pth' in (after / 'out.txt').read_text()
    assert_same(after, undisturbed)


def test_validation_leaves_no_trace_in_the_weights(recipe, undisturbed, tmp_path):
    status = train(recipe, tmp_path, '--cfg-options', 'train_cfg.val_interval=10')
    assert status == 0, (tmp_path / 'out.txt').read_text()
    for name, epochs in STAGES.values():
        states = [torch.load(f / name / f'epoch_{epochs}.pth')['state_dict']
                  for f in (tmp_path, undisturbed)]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_another_seed_gives_other_weights(recipe, undisturbed, tmp_path):
    assert train(recipe, tmp_path, '--seed', '1') == 0
    for name, epochs in STAGES.values():
        states = [torch.load(f / name / f'epoch_{epochs}.pth') for f in (tmp_path, undisturbed)]
        assert not torch.equal(*(s['state_dict']['head.weight'] for s in states))
        assert [s['meta']['seed'] for s in states] == [1, 0]


def test_checkpoints_hold_data_only_and_are_complete(undisturbed):
    for name, epochs in STAGES.values():
        folder = undisturbed / name
        content = torch.load(folder / f'epoch_{epochs}.pth', weights_only=True)
        assert content['meta']['epoch'] == epochs
        assert content['state_dict']['class_counts'].sum() == 353
        assert not list(folder.glob('*.tmp'))
        assert set(content['message_hub']) >= {'epoch', 'iter', 'max_epochs'}
        kept = sorted(path.name for path in folder.glob('epoch_*.pth'))
        assert kept == [f'epoch_{e}.pth' for e in ((2, 4) if epochs == 4 else (2, 3))]


def test_a_finished_run_is_used_as_it_is(recipe, undisturbed, tmp_path):
    folder = tmp_path / 'copy'
    shutil.copytree(undisturbed, folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob('*.pth')}
    (folder / 'out.txt').unlink()
    assert train(recipe, folder) == 0
    assert 'finished before' in (folder / 'out.txt').read_text()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*.pth')} == times
