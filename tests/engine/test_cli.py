"""The command: its options, its errors, what a rehearsal leaves, what testing a checkpoint says."""

import io
import json
import os
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from ltcls import __version__, cli
from ltcls.cli import main
from ltcls.commands.arguments import engine_options, parse_cfg_options, report
from ltcls.engine import stage
from ltcls.engine.prepare import Options
from ltcls.evaluation.record import read_record

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = '''
_base_ = 'ltcls::ce/ce_resnet20_digits.py'
model = dict(backbone=dict(depth=8))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2)]
default_hooks = dict(checkpoint=dict(interval=1))
train_cfg = dict(max_epochs=2, val_interval=1)
'''


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('configs') / 'ce_resnet8_digits.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('runs') / 'mine'
    assert main(['train', str(config), '--work-dir', str(folder), '--seed', '4', '--amp']) == 0
    return folder


def error_of(capsys, *arguments) -> str:
    """The one line on stderr of a command that must fail."""
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith('error:')]
    assert len(lines) == 1 and said.strip() == lines[0], said
    return lines[0].removeprefix('error: ')


# -- warnings -------------------------------------------------------------------------------


def test_a_warning_of_ours_is_one_line_and_others_stay_as_they_are(capsys, monkeypatch):
    others = []
    monkeypatch.setattr(warnings, 'showwarning', lambda *arguments: others.append(arguments[0]))
    usual = warnings.showwarning
    with cli._short_warnings():
        warnings.showwarning('two\nlines', UserWarning, cli.__file__, 3)
        warnings.showwarning('of torch', UserWarning, torch.__file__, 3)
        warnings.showwarning('old', FutureWarning, cli.__file__, 3)
    assert capsys.readouterr().err == 'warning: two lines\n'
    assert others == ['of torch', 'old'] and warnings.showwarning is usual


def test_a_run_says_at_its_start_that_the_cpu_only_imitates_its_precision(config, capsys,
                                                                          monkeypatch):
    monkeypatch.setattr(stage, 'slow_precision', lambda precision, _: precision == 'bfloat16')
    assert main(['train', str(config), '--dry-run', '--amp']) == 0
    assert "no arithmetic for model.precision='bfloat16'" in capsys.readouterr().out
    assert main(['train', str(config), '--dry-run']) == 0
    assert 'no arithmetic' not in capsys.readouterr().out


# -- options --------------------------------------------------------------------------------


def test_amp_and_another_precision_exclude_each_other(config, capsys):
    line = error_of(capsys, 'train', config, '--amp', '--cfg-options', 'model.precision=float16')
    assert line == ('--amp is bfloat16, and --cfg-options has model.precision=float16: leave out '
                    'one of them.')


def test_a_folder_without_a_checkpoint_is_no_run(config, tmp_path, capsys):
    assert error_of(capsys, 'test', config, tmp_path) == (
        f'{tmp_path} holds no checkpoint of a run (epoch_N.pth): name a run, or a file.')


def test_options_reach_the_engine():
    options = cli.parser().parse_args([
        'train', 'a', '--work-dir', 'w', '--data-root', 'd', '--skip-bad-images', '--launcher',
        'pytorch', '--local_rank', '1', '--amp', '--cfg-options', 'train_cfg.max_epochs=5'])
    options.command_line = 'ltcls train a'
    assert engine_options(options) == Options(
        work_dir=Path('w'), data_root='d', skip_bad_images=True, launcher='pytorch', report=report,
        command='ltcls train a', cfg_options={
            'train_cfg.max_epochs': 5, 'model.channels_last': True, 'model.precision': 'bfloat16'})


@pytest.mark.parametrize('command', [['train', 'a'], ['test', 'a', 'b'], ['data', 'check', 'a']])
def test_config_options_given_twice_are_all_taken(command):
    options = cli.parser().parse_args(
        [*command, '--cfg-options', 'a=1', 'b=2', '--cfg-options', 'c=3'])
    assert options.cfg_options == ['a=1', 'b=2', 'c=3']
    assert cli.parser().parse_args(command).cfg_options == []


def test_a_test_is_recorded_below_the_run_and_not_over_its_record(tmp_path, monkeypatch):
    tested = []
    monkeypatch.setattr('ltcls.engine.stage.test_checkpoint',
                        lambda path, cfg, checkpoint, engine: tested.append(engine.work_dir))
    (tmp_path / 'epoch_1.pth').touch()
    assert main(['test', 'ce_resnet20_digits', str(tmp_path / 'epoch_1.pth')]) == 0
    assert tested == [tmp_path / 'test']


@pytest.mark.parametrize(('command', 'otherwise'), [
    ('train', 'work_dirs/<config name>'), ('test', 'test/ beside the checkpoint')])
def test_the_help_says_where_the_result_goes(capsys, command, otherwise):
    with pytest.raises(SystemExit):
        main([command, '-h'])
    assert f'{otherwise} otherwise' in ' '.join(capsys.readouterr().out.split())


def test_values_of_options_are_literals_or_words():
    assert parse_cfg_options([
        'a.b=1', 'c=[1, 2]', 'd=word', 'e=true', 'f=None', 'g=1e-3', "h='x=y'", 'i=a=b', 'j=']) == {
            'a.b': 1, 'c': [1, 2], 'd': 'word', 'e': True, 'f': None, 'g': 1e-3, 'h': 'x=y',
            'i': 'a=b', 'j': ''}
    for text in ('novalue', '=3'):
        with pytest.raises(ValueError, match='write key=value'):
            parse_cfg_options([text])


def test_the_module_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['ltcls', '--version'])
    with pytest.raises(SystemExit) as end:
        runpy.run_module('ltcls', run_name='__main__')
    assert end.value.code == 0 and capsys.readouterr().out == f'ltcls {__version__}\n'


def test_the_version_and_the_help_are_printed(capsys):
    for arguments, text in ((['--version'], f'ltcls {__version__}'), (['train', '-h'], '--resume')):
        with pytest.raises(SystemExit) as done:
            main(arguments)
        assert done.value.code == 0 and text in capsys.readouterr().out


def test_amp_is_the_precision_of_every_stage(trained):
    record = read_record(trained / 'evaluation.json')
    assert record['precision'] == 'bfloat16' and record['seed'] == 4
    assert record['config']['model']['channels_last'] is True
    state = torch.load(trained / 'epoch_2.pth')['state_dict']
    assert all(v.dtype != torch.bfloat16 for v in state.values())


def test_the_command_line_stands_in_the_record(trained, config):
    command = read_record(trained / 'evaluation.json')['command']
    assert command == f'ltcls train {config} --work-dir {trained} --seed 4 --amp'


def test_a_run_leaves_its_record_its_log_and_its_pictures(trained):
    names = {path.name for path in trained.iterdir() if path.is_file()}
    assert names >= {'evaluation.json', 'log.jsonl', 'config.json', 'epoch_2.pth',
                     'class_profile.png', 'confusion.png', 'reliability.png', 'learning_curves.png'}


def test_a_config_without_schedules_trains_without_warnings(config, tmp_path, capsys):
    path = tmp_path / 'plain_resnet8_digits.py'
    path.write_text(f"_base_ = '{config}'\nparam_scheduler = None\n"
                    'train_cfg = dict(max_epochs=1)\n')
    assert main(['train', str(path), '--work-dir', str(tmp_path / 'run')]) == 0
    said = capsys.readouterr()
    assert 'WARNING' not in said.out + said.err
    assert 'lr 1.00e-01' in said.out


# -- testing a checkpoint -------------------------------------------------------------------


@pytest.mark.parametrize('which, epoch', [('', 2), ('epoch_1.pth', 1)])
def test_a_test_reports_the_weights_of_the_checkpoint(config, trained, tmp_path, which, epoch):
    log = [json.loads(line) for line in (trained / 'log.jsonl').read_text().splitlines()]
    before = (trained / 'evaluation.json').read_bytes()
    folder = tmp_path / 'tested'
    arguments = [str(config), str(trained / which), '--work-dir', str(folder), '--amp']
    assert main(['test', *arguments]) == 0
    record = read_record(folder / 'evaluation.json')
    # In another precision, or of another epoch, the accuracy would differ.
    accuracy = log[epoch - 1]['val']['accuracy']
    assert record['overall']['accuracy'] == pytest.approx(accuracy, abs=1e-3)
    assert (record['epoch'], record['seed']) == (epoch, 4)
    assert (trained / 'evaluation.json').read_bytes() == before
    assert {path.name for path in folder.glob('*.png')} == {
        'class_profile.png', 'confusion.png', 'reliability.png'}


def test_weights_that_were_not_trained_with_ltcls_are_refused(config, trained, tmp_path, capsys):
    content = torch.load(trained / 'epoch_2.pth')
    del content['state_dict']['class_counts']
    path = tmp_path / 'foreign.pth'
    torch.save(dict(state_dict=content['state_dict']), path)
    said = error_of(capsys, 'test', config, path, '--work-dir', tmp_path / 'test')
    assert 'carries no class counts' in said and 'init_from' in said


# -- a rehearsal ----------------------------------------------------------------------------


def test_a_rehearsal_of_two_stages_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TMPDIR', str(tmp_path / 'temporary'))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'temporary'))
    (tmp_path / 'temporary').mkdir()
    assert main(['train', 'gcl-crt_resnet20_digits', '--dry-run']) == 0
    said = capsys.readouterr().out
    assert 'gcl_resnet20_digits: 16 images' in said and 'gcl-crt_resnet20_digits: 16 images' in said
    assert 'every stage trained, tested and saved' in said
    assert [path.name for path in tmp_path.rglob('*')] == ['temporary']


def test_a_rehearsal_finds_a_fault_of_the_data_set_it_replaces(capsys):
    said = error_of(capsys, 'train', 'ce_resnet20_digits', '--dry-run', '--cfg-options',
                    'train_dataloader.dataset.imbalanse=10')
    assert said == ("train_dataloader.dataset: DigitsLT has no argument 'imbalanse'. "
                    "Did you mean 'imbalance'?")


def test_a_rehearsal_goes_on_from_no_checkpoint(capsys):
    said = error_of(capsys, 'train', 'ce_resnet20_digits', '--dry-run', '--resume', 'epoch_4.pth')
    assert said == ('--dry-run begins anew with random images, and --resume epoch_4.pth does not: '
                    'leave out one of them.')


# -- errors ---------------------------------------------------------------------------------


def test_errors_are_one_line_with_status_two(config, tmp_path, capsys):
    assert 'Did you mean ce_resnet20_digits' in error_of(capsys, 'train', 'ce_resnet20_digit')
    said = error_of(capsys, 'train', config, '--cfg-options', 'model.loss.type=FocallLoss')
    assert said.startswith("model.loss: 'FocallLoss' is not in the losses registry. "
                           'Did you mean FocalLoss')
    assert 'write key=value' in error_of(capsys, 'train', config, '--cfg-options', 'seed')
    said = error_of(capsys, 'train', config, '--cfg-options', 'modle.precision=bfloat16')
    assert said == "The config has no key 'modle'. Did you mean 'model'?"
    assert 'There is no checkpoint' in error_of(capsys, 'test', config, tmp_path / 'no.pth')
    assert "no registry 'lossses'" in error_of(capsys, 'list', 'lossses')


def test_errors_of_parts_that_are_built_later_are_one_line_too(config, tmp_path, capsys):
    for option, text in (
            ('train_dataloader.dataset.imbalance=0.01', 'imbalance=0.01; it is a factor'),
            ('model.frozen=["neck"]', "model.frozen names 'neck'"),
            ('data_preprocessor.num_classes=9', 'set data_preprocessor.num_classes=10'),
            ('optim_wrapper.optimizer.lr=-1', 'Invalid learning rate')):
        said = error_of(capsys, 'train', config, '--work-dir', tmp_path, '--cfg-options', option)
        assert text in said


def test_a_folder_that_cannot_be_made_is_one_line(config, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    said = error_of(capsys, 'train', config, '--work-dir', tmp_path / 'file' / 'run')
    assert 'file' in said and 'NotADirectoryError; LTCLS_DEBUG=1 shows where' in said


def test_debugging_shows_where_an_error_comes_from(monkeypatch):
    monkeypatch.setenv('LTCLS_DEBUG', '1')
    with pytest.raises(FileNotFoundError):
        main(['train', 'ce_resnet20_digit'])


def test_errors_of_other_packages_say_their_kind(monkeypatch, capsys):
    monkeypatch.setattr('ltcls.commands.list.run', lambda options: torch.zeros(2) @ torch.zeros(3))
    said = error_of(capsys, 'list')
    assert said.endswith('(RuntimeError; LTCLS_DEBUG=1 shows where)')


@pytest.mark.parametrize('command', [['train', 'ce_resnet20_digits'], ['list']])
def test_ctrl_c_ends_a_command_with_130_and_promises_nothing(monkeypatch, capsys, command):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f'ltcls.commands.{command[0]}.run', interrupted)
    assert main(command) == 130
    assert capsys.readouterr().err == 'stopped: Ctrl-C.\n'


@pytest.mark.parametrize(('last', 'line'), [
    ('ltcls.datasets.base.DataError: a.png cannot be read', 'error: a.png cannot be read\n'),
    ('RuntimeError: disk', 'error: disk (RuntimeError; LTCLS_DEBUG=1 shows where)\n')])
def test_an_error_of_a_loaders_worker_is_its_last_line(monkeypatch, capsys, last, line):
    def failed(options):
        raise RuntimeError('Caught an error in DataLoader worker process 0.\nOriginal Traceback '
                           f'(most recent call last):\n  File "x.py", line 1\n{last}\n')

    monkeypatch.setattr('ltcls.commands.list.run', failed)
    assert main(['list']) == 2 and capsys.readouterr().err == line


def test_the_script_ends_with_the_status_of_the_command():
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / 'tools' / 'train.py'), 'no_such_config'], text=True,
        capture_output=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}, timeout=600)
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith("error: There is no config file or shipped config 'no_such_conf")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word(unbuffered):
    done = subprocess.run(
        f'{sys.executable} -m ltcls list configs | true; exit ${{PIPESTATUS[0]}}', shell=True,
        executable='/bin/bash', text=True, capture_output=True, timeout=600,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': unbuffered})
    assert (done.returncode, done.stderr) == (141, '')


def test_a_broken_pipe_other_than_the_terminals_is_an_error(monkeypatch, capsys):
    def failed(options):
        raise BrokenPipeError('of a worker')

    monkeypatch.setattr('ltcls.commands.list.run', failed)
    assert 'of a worker' in error_of(capsys, 'list')


# -- listing --------------------------------------------------------------------------------


def test_components_are_listed_with_their_package(capsys):
    assert main(['list', 'losses']) == 0
    lines = capsys.readouterr().out.splitlines()
    [row] = [line for line in lines if ' GCLLoss ' in line]
    assert 'ltcls.losses.gcl' in row and '| losses' in row
    assert main(['list']) == 0
    assert not re.search(r'\| mmengine', capsys.readouterr().out)
    assert main(['list', 'configs']) == 0
    assert 'gcl-crt_resnet32_cifar10 ' in capsys.readouterr().out
    assert main(['list', 'plugins']) == 0
    assert 'status' in capsys.readouterr().out


def test_a_name_that_is_no_utf8_can_be_printed(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(io.BytesIO(), encoding='utf-8'))
    assert main(['list', 'losses']) == 0
    print(os.fsdecode(b'caf\xe9'), flush=True)
    assert sys.stdout.buffer.getvalue().endswith(b'caf\\udce9\n')
