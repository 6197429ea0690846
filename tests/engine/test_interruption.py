"""SIGTERM, full disks, damaged checkpoints and losses that are no numbers."""

import json
import os
import shutil
import signal

import pytest
import torch
from processes import command_on_a_terminal

from ltcls.cli import main
from ltcls.engine.checkpoint import check_fits, damage, newest_sound_checkpoint
from ltcls.engine.interruption import Stopped, stops_on_request

CONFIG = '''
_base_ = 'ltcls::ce/ce_resnet20_digits.py'
custom_imports = dict(imports=['lt_test_hooks'])
model = dict(backbone=dict(_delete_=True, type='FlatBackbone'))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=3)]
default_hooks = dict(checkpoint=dict(interval={interval}, max_keep_ckpts={keep}))
custom_hooks = [dict(type='KillHook'), dict(type='FaultHook', **{fault!r})]
train_cfg = dict(max_epochs=3, val_interval=1)
'''
NAME = 'ce_flat_digits'


@pytest.fixture
def write(tmp_path):
    """A function that writes a config of three epochs of six iterations and returns its path."""
    def config(interval=1, keep=2, **fault):
        path = tmp_path / f'{NAME}.py'
        path.write_text(CONFIG.format(interval=interval, keep=keep,
                                      fault=dict(dict(moments=[]), **fault)))
        return path
    return config


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('undisturbed')
    (folder / f'{NAME}.py').write_text(CONFIG.format(interval=1, keep=2, fault=dict(moments=[])))
    assert train(folder / f'{NAME}.py', folder / 'run') == 0
    return folder / 'run'


def train(config, folder, *more) -> int:
    return main(['train', str(config), '--work-dir', str(folder), *more])


def error_of(capsys) -> str:
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    return line.removeprefix('error: ')


def same_end(folder, other) -> bool:
    states = [torch.load(f / 'epoch_3.pth') for f in (folder, other)]
    logs = [[(e['epoch'], e['loss'], e['lr'], e['val']) for e in map(json.loads, (
        f / 'log.jsonl').read_text().splitlines())] for f in (folder, other)]
    momenta = [[s['momentum_buffer'] for s in state['optimizer']['state'].values()]
               for state in states]
    return (logs[0] == logs[1] and states[0]['param_schedulers'] == states[1]['param_schedulers']
            and all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))
            and all(torch.equal(value, states[1]['state_dict'][name])
                    for name, value in states[0]['state_dict'].items()))


def truncate(path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:len(content) // 2])


# -- SIGTERM --------------------------------------------------------------------------------


def test_sigterm_leaves_the_last_complete_epoch_and_ends_with_143(
        write, undisturbed, tmp_path, monkeypatch, capsys):
    config, run = write(interval=3), tmp_path / 'run'
    monkeypatch.setenv('LTCLS_TEST_SIGNAL', 'SIGTERM')
    monkeypatch.setenv('LTCLS_TEST_KILL', 'run after_train_iter 2 3')
    before = signal.getsignal(signal.SIGTERM)
    assert train(config, run) == 143
    assert signal.getsignal(signal.SIGTERM) == before
    said = capsys.readouterr().err.strip()
    assert said == (f'stopped: SIGTERM: {run}/epoch_2.pth holds the last complete epoch, --resume '
                    'goes on from there.')
    assert (run / 'last_checkpoint').read_text() == str(run / 'epoch_2.pth')
    # Nothing of the half epoch that followed is in the file.
    kept, reference = (torch.load(f / 'epoch_2.pth') for f in (run, undisturbed))
    assert kept.keys() == reference.keys() and kept['meta'].keys() == reference['meta'].keys()
    assert kept['meta']['iter'] == 12
    assert all(torch.equal(v, reference['state_dict'][n]) for n, v in kept['state_dict'].items())
    monkeypatch.delenv('LTCLS_TEST_KILL')
    assert train(config, run, '--resume') == 0
    assert same_end(run, undisturbed)


def test_sigterm_in_the_first_epoch_or_outside_training_says_that_nothing_is_kept(
        write, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('LTCLS_TEST_SIGNAL', 'SIGTERM')
    monkeypatch.setenv('LTCLS_TEST_KILL', 'run after_train_iter 0 3')
    assert train(write(), tmp_path / 'run') == 143
    assert 'no epoch was complete, so there is no checkpoint' in capsys.readouterr().err
    assert not list((tmp_path / 'run').glob('*.pth'))
    with pytest.raises(Stopped, match='outside training'):
        with stops_on_request():
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_in_the_first_epoch_after_another_folders_names_that_checkpoint(
        write, undisturbed, tmp_path, monkeypatch, capsys):
    other = tmp_path / 'other.pth'
    other.write_bytes((undisturbed / 'epoch_2.pth').read_bytes())
    monkeypatch.setenv('LTCLS_TEST_SIGNAL', 'SIGTERM')
    monkeypatch.setenv('LTCLS_TEST_KILL', 'run after_train_iter 2 3')
    assert train(write(), tmp_path / 'run', '--resume', str(other)) == 143
    assert (f'{other} holds the last complete epoch, --resume {other} goes on'
            in capsys.readouterr().err)


@pytest.fixture
def ctrl_c(monkeypatch):
    """A function that has Ctrl-C arrive at an iteration; jobs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setenv('LTCLS_TEST_SIGNAL', 'SIGINT')
    yield lambda moment: monkeypatch.setenv('LTCLS_TEST_KILL', moment)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(('moment', 'hint'), [
    ('run after_train_iter 0 3',
     '{} holds no checkpoint yet, so the same command begins there anew'),
    ('run after_train_iter 2 3', '--resume goes on from {}/epoch_2.pth')])
def test_ctrl_c_says_what_is_there_to_go_on_with(write, undisturbed, tmp_path, capsys, ctrl_c,
                                                 moment, hint):
    config, run = write(), tmp_path / 'run'
    ctrl_c(moment)
    assert train(config, run) == 130
    assert capsys.readouterr().err.strip() == f'stopped: Ctrl-C; {hint.format(run)}.'
    ctrl_c('never')
    assert train(config, run, *(['--resume'] if '--resume' in hint else [])) == 0
    assert same_end(run, undisturbed)


def test_ctrl_c_in_a_rehearsal_leaves_nothing_to_go_on_with(write, capsys, ctrl_c):
    ctrl_c(f'{NAME} after_train_iter 0 1')
    assert main(['train', str(write()), '--dry-run']) == 130
    assert capsys.readouterr().err.strip() == 'stopped: Ctrl-C.'


@pytest.mark.parametrize(('ending', 'status', 'word'), [
    ('SIGINT', 130, 'stopped'), ('SIGTERM', 143, 'stopped'), ('error', 2, 'error')])
def test_the_progress_bar_ends_with_the_run_and_shows_the_cursor_again(
        write, tmp_path, ending, status, word):
    if ending == 'error':
        config, environment = write(moments=[(0, 3)], breaks=True), {}
    else:
        config, environment = write(), dict(LTCLS_TEST_SIGNAL=ending,
                                            LTCLS_TEST_KILL='run after_train_iter 0 3')
    found, sent = command_on_a_terminal('train', config, '--work-dir', tmp_path / 'run',
                                        **environment)
    assert found == status, sent
    shown, _, message = sent.rpartition('\x1b[?25h')
    assert shown.count('\x1b[?25l') == 1 and shown.endswith('\n')
    assert message.startswith(f'{word}: ') and message.endswith('\r\n') and '\x1b' not in message


# -- files ----------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_the_old_checkpoints_stay(write, undisturbed, tmp_path, capsys):
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'epoch_2.pth.tmp').symlink_to('/dev/full')
    assert train(write(keep=1), run) == 2
    assert error_of(capsys) == (
        f'The checkpoint {run}/epoch_2.pth could not be written: No space left on device. '
        'epoch_1.pth beside it stays as it was. Make room and continue with --resume.')
    assert [path.name for path in run.glob('epoch_*')] == ['epoch_1.pth']
    assert train(write(keep=1), run, '--resume') == 0      # there is room again
    assert [path.name for path in run.glob('epoch_*')] == ['epoch_3.pth']
    assert same_end(run, undisturbed)


def test_the_best_checkpoint_goes_when_its_successor_is_written(write, tmp_path):
    run = tmp_path / 'run'
    best = 'default_hooks.checkpoint.save_best="accuracy"'
    assert train(write(), run, '--cfg-options', best) == 0
    log = [json.loads(line) for line in (run / 'log.jsonl').read_text().splitlines()]
    first = max(log, key=lambda entry: entry['val']['accuracy'])
    [kept] = run.glob('best_*')
    assert kept.name == f"best_accuracy_epoch_{first['epoch']}.pth"


def test_the_old_best_checkpoint_stays_until_the_new_one_is_written(write, tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    for epoch in (2, 3):
        (run / f'best_accuracy_epoch_{epoch}.pth.tmp').symlink_to('/dev/full')
    best = 'default_hooks.checkpoint.save_best="accuracy"'
    assert train(write(), run, '--cfg-options', best) == 2
    assert [path.name for path in run.glob('best_*.pth')] == ['best_accuracy_epoch_1.pth']


@pytest.mark.parametrize('break_it', [truncate, lambda path: path.write_bytes(b'')])
def test_the_checkpoint_before_a_damaged_one_is_used_and_that_is_said(
        write, undisturbed, tmp_path, capsys, break_it):
    run = shutil.copytree(undisturbed, tmp_path / 'run')
    break_it(run / 'epoch_3.pth')
    assert train(write(), run) == 0
    said = capsys.readouterr().out
    assert f'{run}/epoch_3.pth is damaged (' in said and 'epoch_2.pth is used instead' in said
    assert 'continuing from epoch_2.pth' in said
    assert same_end(run, undisturbed)


def test_when_all_checkpoints_are_damaged_each_is_named(undisturbed, write, tmp_path, capsys):
    run = shutil.copytree(undisturbed, tmp_path / 'run')
    for path in run.glob('epoch_*'):
        truncate(path)
    assert train(write(), run, '--resume') == 2
    said = error_of(capsys)
    assert 'epoch_3.pth is damaged' in said and 'epoch_2.pth is damaged' in said
    assert 'remove what is listed to begin anew' in said


def test_a_single_changed_byte_is_noticed(undisturbed, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    content = bytearray((undisturbed / 'epoch_3.pth').read_bytes())
    path.write_bytes(content)
    assert damage(path) is None
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert damage(path) is not None
    assert newest_sound_checkpoint(tmp_path / 'nothing') == (None, [])


def test_a_checkpoint_of_another_model_is_refused_and_not_loaded_in_part(undisturbed, tmp_path):
    content = torch.load(undisturbed / 'epoch_3.pth')
    model = torch.nn.Module()
    model.head = torch.nn.Linear(16, 10)
    model.backbone = torch.nn.Module()
    model.backbone.layer = torch.nn.Linear(64, 16)
    model.register_buffer('class_counts', torch.zeros(10))
    path = tmp_path / 'epoch_3.pth'
    check_fits(model, content, path, resume=True)

    def refused(match, resume=False, **changes):
        state = {**content['state_dict'], **changes.pop('state', {})}
        state = {name: value for name, value in state.items() if value is not None}
        with pytest.raises(ValueError, match=match) as caught:
            check_fits(model, {**content, 'state_dict': state, **changes}, path, resume)
        assert str(path) in str(caught.value) and '\n' not in str(caught.value)

    refused("lacks 'head.bias', which the model", state={'head.bias': None})
    refused("holds 'neck'", state=dict(neck=torch.ones(1)))
    refused(r"'head.bias' of shape \[3\], .* \[10\]", state={'head.bias': torch.ones(3)})
    refused("'head.bias' that are NaN", state={'head.bias': torch.full((10,), torch.nan)})
    refused("no 'state_dict' of tensors", state_dict=[1, 2])
    for changes in (dict(meta=None), dict(meta=dict(epoch='1', iter=2))):
        refused('cannot be resumed', resume=True, **changes)


# -- losses that are no numbers -------------------------------------------------------------


@pytest.mark.parametrize('value', ['nan', 'inf'])
def test_such_a_loss_ends_the_run_with_iteration_component_and_checkpoint(
        write, tmp_path, capsys, value):
    run = tmp_path / 'run'
    assert train(write(moments=[(1, 1), (1, 2)], value=value), run) == 2
    assert error_of(capsys) == (
        f"The loss became {value} at iteration 8 (epoch 2, batch 2): component 'loss' of "
        f'CrossEntropyLoss. The last good checkpoint is {run}/epoch_1.pth. To go on, lower the '
        'learning rate or set optim_wrapper.clip_grad=dict(max_norm=1.0), or leave out such steps '
        'with --on-nan skip.')
    assert [path.name for path in run.glob('epoch_*')] == ['epoch_1.pth']


def test_such_a_weight_is_found_before_it_is_saved(write, tmp_path, capsys):
    run = tmp_path / 'run'
    assert train(write(moments=[(0, 5)], weight=True), run) == 2
    assert error_of(capsys).startswith(
        'The weights became NaN or infinite in epoch 1, up to iteration 6: component '
        "'head.weight'. There is no checkpoint yet.")
    assert not list(run.glob('epoch_*'))


def test_skipped_steps_are_counted_also_across_a_resume(write, tmp_path, monkeypatch, capsys):
    config, run = write(moments=[(0, 0), (0, 3), (2, 1)]), tmp_path / 'run'
    monkeypatch.setenv('LTCLS_TEST_SIGNAL', 'SIGTERM')
    monkeypatch.setenv('LTCLS_TEST_KILL', 'run after_train_iter 1 3')
    assert train(config, run, '--on-nan', 'skip') == 143
    assert 'epoch 1: 2 of 6 steps dropped' in capsys.readouterr().out
    monkeypatch.delenv('LTCLS_TEST_KILL')
    assert train(config, run, '--on-nan', 'skip', '--resume') == 0
    log = [json.loads(line) for line in (run / 'log.jsonl').read_text().splitlines()]
    assert [entry['dropped_steps'] for entry in log] == [2, 2, 3]
    assert all(entry['loss'] < 10 for entry in log)


def test_an_epoch_without_a_single_good_step_ends_the_run(write, tmp_path, capsys):
    config = write(moments=[(1, batch) for batch in range(6)])
    assert train(config, tmp_path / 'run', '--on-nan', 'skip') == 2
    assert 'All 6 steps of epoch 2 were dropped' in error_of(capsys)


def test_when_no_loss_is_bad_skipping_changes_no_bit(write, undisturbed, tmp_path):
    assert train(write(), tmp_path / 'run', '--on-nan', 'skip') == 0
    assert same_end(tmp_path / 'run', undisturbed)
