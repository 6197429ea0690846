"""Recipes on the digits: order and reuse of stages, what starts from what, what a run leaves."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.dist import broadcast_object_list
from torch.distributed import distributed_c10d
from torch.testing import assert_close
from two_ranks import on_two_ranks

from ltcls.engine import recipe, stage
from ltcls.engine.prepare import Options, load_config
from ltcls.engine.recipe import run, stages
from ltcls.evaluation.record import read_record
from ltcls.longtail import exponential_counts
from ltcls.registry import DATASETS, MODELS

COUNTS = exponential_counts(128, 10, 50)
CE = '''
_base_ = 'ltcls::ce/ce_resnet20_digits.py'
model = dict(backbone=dict(depth=8))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=3)]
default_hooks = dict(checkpoint=dict(interval=1))
train_cfg = dict(max_epochs=3, val_interval=2)
'''
LATER = '''
_base_ = './ce_resnet8_digits.py'
init_from = dict(config='ce_resnet8_digits.py', parts={})
'''
BOTH = LATER.format(['backbone', 'head'])
RECIPES = {
    'ce': CE,
    'crt': LATER.format(['backbone']) + '''
train_dataloader = dict(sampler=dict(type='ClassBalancedSampler'))
model = dict(frozen=['backbone'])
train_cfg = dict(max_epochs=1)
''',
    'la-posthoc': BOTH + '''
model = dict(frozen=['backbone'], head=dict(type='LogitAdjustedHead', tau=1.5))
train_cfg = dict(max_epochs=0)
''',
    'tau-norm': BOTH + '''
model = dict(frozen=['backbone'], head=dict(type='TauNormHead', tau=0.7))
train_cfg = dict(max_epochs=0)
''',
    'ncm': LATER.format(['backbone']) + '''
model = dict(frozen=['backbone'], head=dict(type='NCMHead'))
train_cfg = dict(max_epochs=0)
custom_hooks = [dict(type='ClassMeanHook', batch_size=100)]
''',
    'third': '''
_base_ = './crt_resnet8_digits.py'
init_from = dict(config='crt_resnet8_digits', parts=['backbone', 'head'])
train_cfg = dict(max_epochs=0)
''',
}


@pytest.fixture(scope='module')
def configs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('configs')
    for method, text in RECIPES.items():
        (folder / f'{method}_resnet8_digits.py').write_text(text)
    return folder


@pytest.fixture(scope='module')
def trained(configs, tmp_path_factory) -> Path:
    """The folder of a finished cross-entropy run and of everything that starts from it."""
    folder = tmp_path_factory.mktemp('runs')
    for method in RECIPES:
        train(configs, method, folder)
    return folder


@pytest.fixture
def runs(trained, tmp_path) -> Path:
    """A copy of the finished runs, to be tampered with."""
    return Path(shutil.copytree(trained, tmp_path / 'runs'))


def folder_of(runs, method) -> Path:
    return runs / f'{method}_resnet8_digits'


def train(configs, method, runs, **options) -> dict:
    """The record of one command; options with '__' for dots go to the config."""
    cfg_options = {key.replace('__', '.'): options.pop(key) for key in list(options) if '__' in key}
    return run(configs / f'{method}_resnet8_digits.py', Options(
        work_dir=folder_of(runs, method), cfg_options=cfg_options, command='a test', **options))


def state_of(runs, method, epoch) -> dict:
    return torch.load(folder_of(runs, method) / f'epoch_{epoch}.pth')['state_dict']


def log_of(runs, method) -> list[dict]:
    lines = (folder_of(runs, method) / 'log.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def times(folder) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*.pth')}


# -- stages ---------------------------------------------------------------------------------


def test_a_recipe_names_its_stages_the_first_one_first(configs, tmp_path):
    found = stages(configs / 'third_resnet8_digits.py', Options(work_dir=tmp_path / 'mine'))
    assert [path.stem for path, _ in found] == [
        'ce_resnet8_digits', 'crt_resnet8_digits', 'third_resnet8_digits']
    assert [Path(cfg.work_dir).name for _, cfg in found] == [
        'ce_resnet8_digits', 'crt_resnet8_digits', 'mine']


@pytest.mark.parametrize(('given', 'expected'), [
    ('.', '../ce_resnet8_digits'), ('..', '../../ce_resnet8_digits'),
    ('runs/crt', 'runs/ce_resnet8_digits'), ('crt', 'ce_resnet8_digits')])
def test_an_earlier_stage_lives_beside_the_folder_whatever_that_is_called(configs, given, expected):
    found = stages(configs / 'crt_resnet8_digits.py', Options(work_dir=Path(given)))
    assert [cfg.work_dir for _, cfg in found] == [expected, given]


def test_a_later_stage_starts_from_the_named_parts_of_the_earlier_one(trained):
    init = torch.load(folder_of(trained, 'crt') / 'init.pth')
    earlier, later = state_of(trained, 'ce', 3), state_of(trained, 'crt', 1)
    assert init['source'] == 'ce_resnet8_digits'
    assert set(init['state_dict']) == {
        k for k in earlier if k.startswith('backbone.') or k == 'class_counts'}
    for name, value in init['state_dict'].items():
        assert torch.equal(value, earlier[name])
        assert torch.equal(later[name], value)       # the backbone is frozen
    assert not torch.equal(later['head.weight'], earlier['head.weight'])


def test_a_finished_stage_is_used_as_it_is(configs, runs, capsys):
    before = times(folder_of(runs, 'ce'))
    shutil.rmtree(folder_of(runs, 'crt'))
    train(configs, 'crt', runs)
    assert times(folder_of(runs, 'ce')) == before
    assert 'ce_resnet8_digits: finished before in' in capsys.readouterr().out


def test_a_finished_run_returns_its_record(configs, runs):
    before = times(runs)
    record = train(configs, 'third', runs)
    assert record == read_record(folder_of(runs, 'third') / 'evaluation.json')
    assert times(runs) == before


def test_a_half_done_earlier_stage_is_resumed(configs, runs, trained, capsys):
    folder = folder_of(runs, 'ce')
    (folder / 'epoch_3.pth').unlink()
    (folder / 'evaluation.json').unlink()
    shutil.rmtree(folder_of(runs, 'crt'))
    train(configs, 'crt', runs)
    assert 'continuing from epoch_2.pth' in capsys.readouterr().out
    assert [entry['epoch'] for entry in log_of(runs, 'ce')] == [1, 2, 3]
    for method, epoch in (('ce', 3), ('crt', 1)):
        expected = state_of(trained, method, epoch)
        for name, value in state_of(runs, method, epoch).items():
            assert torch.equal(value, expected[name]), name


def test_a_stage_that_was_trained_and_not_tested_is_tested(configs, runs, trained):
    for method in ('ce', 'ncm'):
        path = folder_of(runs, method) / 'evaluation.json'
        path.unlink()
        record = train(configs, method, runs)
        assert record['overall'] == read_record(
            folder_of(trained, method) / 'evaluation.json')['overall']


# -- what is refused ------------------------------------------------------------------------


def test_a_finished_run_of_another_config_is_an_error_that_names_the_key(configs, runs):
    with pytest.raises(ValueError, match=r'holds a finished run of another config: they differ in '
                                         r'train_dataloader.batch_size \(64 and 32\)'):
        train(configs, 'ce', runs, train_dataloader__batch_size=32)
    with pytest.raises(ValueError, match=r'/ce_resnet8_digits holds a finished .*seed \(0 and 3'):
        train(configs, 'crt', runs, seed=3)


def test_an_unfinished_run_is_continued_on_request_and_by_its_own_config_only(configs, runs):
    for name in ('epoch_3.pth', 'evaluation.json'):
        (folder_of(runs, 'ce') / name).unlink()
    with pytest.raises(ValueError, match=r'unfinished run, epoch_2.pth of 3 epochs: .* --resume'):
        train(configs, 'ce', runs)
    with pytest.raises(ValueError, match=r'unfinished run of another config: they differ in '
                                         r'optim_wrapper.optimizer.lr \(0.1 and 0.01\)'):
        train(configs, 'ce', runs, resume=True, optim_wrapper__optimizer__lr=0.01)
    with pytest.raises(ValueError, match='another config: they differ in optim_wrapper'):
        train(configs, 'crt', runs, optim_wrapper__optimizer__lr=0.01)


AMP = {'model.precision': 'bfloat16', 'model.channels_last': True}
WARM = {'optim_wrapper.optimizer.lr': 0.2}


@pytest.mark.parametrize(('then', 'now', 'remedy'), [
    (dict(skip_bad_images=True), {}, 'with --skip-bad-images, repeat it'),
    ({}, dict(skip_bad_images=True), 'without --skip-bad-images, leave it out'),
    (dict(data_root='there'), {}, 'with --data-root there, repeat it'),
    (dict(seed=7), {}, 'with --seed 7, repeat it'),
    (dict(seed=0), dict(seed=7), 'with --seed 0, repeat it'),
    (dict(cfg_options={'randomness.seed': None}), {}, 'without --seed, leave it out'),
    (dict(cfg_options=AMP), {}, 'with --amp, repeat it'),
    ({}, dict(cfg_options=AMP), 'without --amp, leave it out'),
    (dict(cfg_options={'model.precision': 'bfloat16'}), dict(cfg_options=AMP),
     'without --amp, leave it out'),
    (dict(cfg_options={'model.precision': 'bfloat16'}), {},
     'with other --cfg-options, repeat those'),
    (dict(cfg_options={'model.channels_last': True}), {}, 'with other --cfg-options, repeat those'),
    (dict(cfg_options=WARM), {}, 'with other --cfg-options, repeat those'),
    ({}, dict(cfg_options=WARM), 'with other --cfg-options, repeat those')])
def test_an_option_that_a_run_was_begun_with_is_asked_for(configs, tmp_path, then, now, remedy):
    path = tmp_path / 'ce_resnet8_photos.py'
    path.write_text(f"_base_ = '{configs}/ce_resnet8_digits.py'\n"
                    "train_dataloader = dict(dataset=dict(_delete_=True, type='FolderLT', "
                    "root='here'))\n")
    begun, given = (load_config(path, Options(work_dir=tmp_path / 'run', **options))
                    for options in (then, now))
    stage.store_config(tmp_path / 'run', begun)
    (tmp_path / 'run' / 'epoch_1.pth').touch()
    with pytest.raises(ValueError, match=f'another config: .* If it was begun {remedy}; otherwise '
                                         'choose another folder with --work-dir.$'):
        recipe._check_folder(given, resume=True)
    recipe._check_folder(begun, resume=True)


def test_how_a_run_is_evaluated_may_change_where_it_is_not_or_not_in_this_stage(configs, tmp_path):
    path = configs / 'ce_resnet8_digits.py'
    begun, given = (load_config(path, Options(work_dir=tmp_path / 'run', cfg_options=options))
                    for options in ({}, {'test_evaluator.topk': [3, 5]}))
    stage.store_config(tmp_path / 'run', begun)
    (tmp_path / 'run' / 'epoch_1.pth').touch()
    recipe._check_folder(given, resume=True)
    (tmp_path / 'run' / 'epoch_3.pth').touch()
    recipe._check_folder(given, resume=True, earlier=True)
    with pytest.raises(ValueError, match='they differ in test_evaluator.topk'):
        recipe._check_folder(given, resume=True)


def test_an_earlier_stage_of_another_config_is_left_by_another_parent_folder(configs, runs):
    with pytest.raises(ValueError, match='otherwise remove .*ce_resnet8_digits, or choose a '
                                         f'--work-dir in another folder than {runs}'):
        train(configs, 'crt', runs, model__backbone__depth=14)


def test_a_checkpoint_to_resume_must_exist_before_anything_is_trained(configs, tmp_path):
    with pytest.raises(FileNotFoundError, match='--resume: there is no checkpoint nowhere.pth'):
        train(configs, 'crt', tmp_path, resume='nowhere.pth')
    assert not list(tmp_path.iterdir())


def test_two_stages_cannot_share_a_folder(configs, tmp_path):
    with pytest.raises(ValueError, match='is the folder of the earlier stage ce_resnet8_digits'):
        run(configs / 'crt_resnet8_digits.py', Options(work_dir=tmp_path / 'ce_resnet8_digits'))


def test_stages_that_share_a_folder_by_a_link_or_at_a_distance_are_refused(configs, tmp_path):
    (tmp_path / 'ce_resnet8_digits').mkdir()
    (tmp_path / 'linked').symlink_to('ce_resnet8_digits')
    with pytest.raises(ValueError, match='linked is the folder of the earlier stage ce_resnet8_di'):
        recipe.check_all(configs / 'crt_resnet8_digits.py', Options(work_dir=tmp_path / 'linked'))
    text = f"_base_ = '{configs}/ce_resnet8_digits.py'\n"
    begin = text + "init_from = dict(config='{}', parts=['head'])\n"
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'third.py').write_text(text)
    (tmp_path / 'second.py').write_text(begin.format('other/third.py'))
    (tmp_path / 'third.py').write_text(begin.format('second.py'))
    with pytest.raises(ValueError, match='third is the folder of the earlier stage third, which'):
        recipe.check_all(tmp_path / 'third.py', Options(work_dir=tmp_path / 'third'))


def test_a_recipe_that_leads_back_to_itself_is_refused(tmp_path):
    base = ("_base_ = 'ltcls::ce/ce_resnet20_digits.py'\n"
            "init_from = dict(config='{}', parts=['head'])")
    (tmp_path / 'a_resnet20_digits.py').write_text(base.format('b_resnet20_digits.py'))
    (tmp_path / 'b_resnet20_digits.py').write_text(base.format('a_resnet20_digits.py'))
    with pytest.raises(ValueError, match='a_resnet20_digits.py: init_from leads back to this'):
        run(tmp_path / 'a_resnet20_digits.py', Options(work_dir=tmp_path / 'run'))
    (tmp_path / 'c_resnet20_digits.py').write_text(base.format('d_resnet20_digits.py'))
    with pytest.raises(FileNotFoundError, match='d_resnet20_digits'):
        run(tmp_path / 'c_resnet20_digits.py', Options(work_dir=tmp_path / 'run'))


def test_a_part_that_the_earlier_stage_lacks_is_named(configs, runs):
    path = configs / 'neck_resnet8_digits.py'
    path.write_text(LATER.format(['backbone', 'neck']))
    with pytest.raises(ValueError, match="init_from.parts names 'neck'.* it holds backbone, "):
        train(configs, 'neck', runs)
    assert not (folder_of(runs, 'neck') / 'init.pth').exists()


# -- stages of zero epochs ------------------------------------------------------------------


@pytest.fixture(scope='module')
def features(configs, trained):
    """Float64 features of the training and the test images under the CE weights, and labels."""
    cfg = load_config(configs / 'ce_resnet8_digits.py', Options())
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)).eval()
    model.load_state_dict(state_of(trained, 'ce', 3))
    found = {}
    for split, loader in (('train', cfg.train_dataloader), ('test', cfg.test_dataloader)):
        dataset = DATASETS.build(loader.dataset)
        labels = torch.from_numpy(dataset.labels)
        batch = dict(inputs=dataset.images, labels=labels)
        with torch.no_grad():
            batch = model.data_preprocessor(batch, False)
            found[split] = model.extract(batch['inputs']).double(), labels
    return found


def predicted(logits, labels) -> list[list[int]]:
    """The confusion matrix of these logits: rows are classes, columns predictions."""
    pairs = labels * 10 + logits.argmax(dim=1)
    return torch.bincount(pairs, minlength=100).view(10, 10).tolist()


def record_of(runs, method) -> dict:
    return read_record(folder_of(runs, method) / 'evaluation.json')


def test_cross_entropy_is_tested_with_the_weights_it_saved(trained, features):
    state, (test, labels) = state_of(trained, 'ce', 3), features['test']
    logits = F.linear(test, state['head.weight'].double(), state['head.bias'].double())
    assert record_of(trained, 'ce')['confusion'] == predicted(logits, labels)


def test_post_hoc_adjustment_takes_the_log_prior_off_the_logits(trained, features):
    state, (test, labels) = state_of(trained, 'ce', 3), features['test']
    logits = F.linear(test, state['head.weight'].double(), state['head.bias'].double())
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    expected = predicted(logits - 1.5 * prior.log(), labels)
    assert record_of(trained, 'la-posthoc')['confusion'] == expected
    assert expected != record_of(trained, 'ce')['confusion']
    saved = state_of(trained, 'la-posthoc', 0)
    assert all(torch.equal(saved[name], value) for name, value in state.items())


def test_tau_normalisation_divides_rows_by_a_power_of_their_norms(trained, features):
    weight, (test, labels) = state_of(trained, 'ce', 3)['head.weight'].double(), features['test']
    rows = weight / weight.norm(dim=1, keepdim=True) ** 0.7
    assert record_of(trained, 'tau-norm')['confusion'] == predicted(test @ rows.T, labels)


def test_class_means_are_those_of_the_training_features(trained, features):
    (train_features, train_labels), (test, labels) = features['train'], features['test']
    center = train_features.mean(dim=0)
    units = F.normalize(train_features - center)
    means = torch.stack([units[train_labels == c].mean(dim=0) for c in range(10)])
    saved = state_of(trained, 'ncm', 0)
    assert_close(saved['head.prototypes'].double(), means, rtol=1e-4, atol=1e-5)
    logits = -torch.cdist(F.normalize(test - center), means)
    assert record_of(trained, 'ncm')['confusion'] == predicted(logits, labels)


def test_a_stage_of_zero_epochs_leaves_a_checkpoint_and_no_log(trained):
    for method in ('la-posthoc', 'tau-norm', 'ncm', 'third'):
        folder = folder_of(trained, method)
        assert (folder / 'epoch_0.pth').is_file() and not (folder / 'log.jsonl').exists()
        record = record_of(trained, method)
        assert record['epoch'] == 0 and record['best'] is None and record['training_time'] == 0


# -- what a run leaves behind ---------------------------------------------------------------


def test_a_record_says_what_was_run_and_how_it_went(trained):
    record = record_of(trained, 'ce')
    assert record['name'] == 'ce_resnet8_digits' and record['method'] == 'ce'
    assert (record['seed'], record['epoch'], record['precision']) == (0, 3, 'float32')
    assert record['command'] == 'a test' and not record['selected_on_test']
    assert [row['train_count'] for row in record['per_class']] == COUNTS
    assert record['overall']['images'] == 500
    assert all(row['total'] == 50 for row in record['per_class'])
    assert {'overall', 'groups', 'balanced_accuracy', 'rarest', 'calibration'} <= set(record)
    assert all(len(value) == 64 for value in record['fingerprints'].values())
    assert set(record['fingerprints']) == {'train', 'test'}
    assert torch.__version__.startswith(record['versions']['torch']) and record['hardware']['cpu']
    assert record['config']['model']['backbone'] == dict(type='CIFARResNet', depth=8, in_channels=1)
    # Convolutions, their norms' scales and shifts, the classifier.
    assert record['parameters'] == 9 * (16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64) \
        + 2 * (3 * 16 + 2 * 32 + 2 * 64) + 65 * 10
    assert 0 < record['training_time'] <= record['wall_time']
    assert record['config'] == json.loads((folder_of(trained, 'ce') / 'config.json').read_text())


def test_the_result_is_the_last_epoch_and_the_best_stands_beside_it(trained):
    record, log = record_of(trained, 'ce'), log_of(trained, 'ce')
    assert [entry['epoch'] for entry in log] == [1, 2, 3]
    assert ['val' in entry for entry in log] == [False, True, True]      # every second and the last
    accuracies = {entry['epoch']: entry['val']['accuracy'] for entry in log if 'val' in entry}
    assert record['overall']['accuracy'] == pytest.approx(accuracies[3], abs=1e-3)
    best = max(accuracies, key=accuracies.get)
    assert record['best'] == dict(epoch=best, accuracy=accuracies[best], on='test')


def test_the_log_has_loss_rate_speed_and_time_of_every_epoch(trained):
    for number, entry in enumerate(log_of(trained, 'ce')):
        # The rate of the last iteration, cosine over three epochs from 0.1.
        assert entry['lr'] == pytest.approx([0.1, 0.075, 0.025][number], abs=1e-6)
        assert 0 < entry['loss'] < 5 and entry['time'] > 0
        assert entry['images_per_second'] == pytest.approx(sum(COUNTS) / entry['time'], rel=0.1)


def test_the_seed_of_the_command_line_is_that_of_every_stage(configs, tmp_path):
    train(configs, 'third', tmp_path, seed=5, train_cfg__max_epochs=0)
    for method in ('ce', 'crt', 'third'):
        assert record_of(tmp_path, method)['seed'] == 5
        assert record_of(tmp_path, method)['config']['randomness'] == dict(seed=5)


def test_a_rehearsal_reads_two_batches_whatever_the_number_of_classes(tmp_path):
    cfg = load_config('ce_resnet32_cifar100', Options(dry_run=True))
    train_set, test_set = (DATASETS.build(loader.dataset)
                           for loader in (cfg.train_dataloader, cfg.test_dataloader))
    assert len(train_set) == 2 * cfg.train_dataloader.batch_size == 16
    assert len(test_set) == cfg.test_dataloader.batch_size == 8
    assert len(train_set.metainfo['class_counts']) == 100 and min(train_set.class_counts) == 1
    assert train_set[0]['inputs'].shape == (3, 32, 32)
    assert cfg.train_cfg.max_epochs == 1
    cfg = load_config('la-posthoc_resnet20_digits', Options(dry_run=True))
    assert cfg.train_cfg.max_epochs == 0


HOLDER = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print('held', flush=True)
    time.sleep(2)
"""


def test_a_second_process_waits_for_the_folder_and_then_trains(configs, tmp_path, capsys,
                                                               monkeypatch):
    monkeypatch.setattr('ltcls.engine.recipe.PATIENCE', 0.3)
    folder = tmp_path / 'ce_resnet8_digits'
    folder.mkdir()
    other = subprocess.Popen([sys.executable, '-c', HOLDER, str(folder / '.lock')],
                             stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == 'held\n'
    run(configs / 'ce_resnet8_digits.py', Options(work_dir=folder))
    assert other.wait() == 0
    assert f'waiting for another process that trains in {folder}' in capsys.readouterr().out
    assert read_record(folder / 'evaluation.json')['epoch'] == 3


def wait_for_a_folder(rank: int) -> dict:
    """Seconds until the folder was free; the ranks give up on each other after one."""
    folder = Path(os.environ['LTCLS_TEST_FOLDER'])
    distributed_c10d._set_pg_timeout(timedelta(seconds=1))
    other = None
    if rank == 0:
        other = subprocess.Popen([sys.executable, '-c', HOLDER, str(folder / '.lock')],
                                 stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == 'held\n'
    broadcast_object_list([None])
    recipe.PATIENCE, begun = 0.3, time.monotonic()
    with recipe.alone_in(folder):
        return dict(waited=torch.tensor(time.monotonic() - begun))


def test_ranks_that_wait_for_a_folder_do_not_give_up(tmp_path, monkeypatch):
    monkeypatch.setenv('LTCLS_TEST_FOLDER', str(tmp_path))
    for found in on_two_ranks(wait_for_a_folder, tmp_path):
        assert found['waited'] > 1.5


@pytest.mark.parametrize('method', ['ce', 'crt'])
def test_what_the_other_process_leaves_in_the_folder_is_checked(configs, trained, tmp_path,
                                                                monkeypatch, method):
    @contextmanager
    def waits(work_dir):
        if work_dir.name == 'ce_resnet8_digits':
            shutil.copytree(folder_of(trained, 'ce'), work_dir)
        yield

    monkeypatch.setattr(recipe, 'alone_in', waits)
    with pytest.raises(ValueError, match=r'/ce_resnet8_digits holds a finished .*seed \(0 and 3'):
        train(configs, method, tmp_path, seed=3)


def find_another_run(rank: int) -> dict:
    """Whether a run that only the first rank sees is refused; each has a folder of its own."""
    begun, given = (load_config('ce_resnet20_digits', Options(seed=seed, work_dir=Path(
        os.environ['LTCLS_TEST_FOLDER'], f'run{rank}'))) for seed in (0, 3))
    if rank == 0:
        stage.store_config(Path(begun.work_dir), begun)
        (Path(begun.work_dir) / 'epoch_1.pth').touch()
    with pytest.raises(ValueError, match=r'run0 holds an unfinished .*seed \(0 and 3'):
        recipe._found_by_first_rank(given, resume=True, earlier=False)
    return dict(refused=torch.tensor(True))


def test_that_it_is_another_run_reaches_all_ranks(tmp_path, monkeypatch):
    monkeypatch.setenv('LTCLS_TEST_FOLDER', str(tmp_path))
    assert all(found['refused'] for found in on_two_ranks(find_another_run, tmp_path))


# -- links, and settings that a resumed run has to follow ------------------------------------

def test_a_linked_config_is_checked_in_the_folder_that_it_trains_in(configs, tmp_path):
    (tmp_path / 'exp.py').symlink_to(configs / 'ce_resnet8_digits.py')
    monkeyed = Options(cfg_options={'work_dir': str(tmp_path / 'run'), 'train_cfg.max_epochs': 1})
    assert [(path.name, cfg.work_dir) for path, cfg in stages(tmp_path / 'exp.py', monkeyed)] == [
        ('exp.py', str(tmp_path / 'run'))]
    assert stages(tmp_path / 'exp.py', Options())[0][1].work_dir == 'work_dirs/exp'
    (tmp_path / 'round.py').symlink_to(tmp_path / 'circle.py')
    (tmp_path / 'circle.py').write_text(f"_base_ = '{configs}/ce_resnet8_digits.py'\n"
                                        "init_from = dict(config='round.py', parts=['head'])\n")
    with pytest.raises(ValueError, match='leads back to this config itself'):
        stages(tmp_path / 'circle.py', Options())


@pytest.mark.parametrize('options', [
    dict(optim_wrapper__accumulative_counts=4), dict(randomness__seed=None)],
    ids=['windows that do not divide an epoch', 'a seed that is drawn'])
def test_a_resumed_run_is_the_undisturbed_one(configs, tmp_path, options):
    train(configs, 'ce', tmp_path / 'whole', default_hooks__checkpoint__max_keep_ckpts=-1,
          **options)
    broken = folder_of(tmp_path / 'broken', 'ce')
    shutil.copytree(folder_of(tmp_path / 'whole', 'ce'), broken)
    for name in ('epoch_2.pth', 'epoch_3.pth', 'evaluation.json'):
        (broken / name).unlink()
    (broken / 'last_checkpoint').write_text('epoch_1.pth')
    train(configs, 'ce', tmp_path / 'broken', default_hooks__checkpoint__max_keep_ckpts=-1,
          resume=True, **options)
    expected, found = (state_of(tmp_path / part, 'ce', 3) for part in ('whole', 'broken'))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    seeds = [read_record(folder_of(tmp_path / part, 'ce') / 'evaluation.json')['seed']
             for part in ('whole', 'broken')]
    assert seeds[0] == seeds[1]


# -- said before the training, and after it --------------------------------------------------

def test_a_group_rule_that_does_not_fit_is_found_before_the_training(configs, tmp_path):
    for rule, message in (('olrt', "Unknown group rule 'olrt'"), ('index-gnm', 'not for 10')):
        with pytest.raises(ValueError, match=message):
            train(configs, 'ce', tmp_path, test_evaluator__rule=rule)
        assert not list(tmp_path.rglob('*.pth'))


def test_a_test_that_would_leave_no_record_is_found_before_the_training(configs, tmp_path):
    (configs / 'unmeasured_resnet8_digits.py').write_text(
        "_base_ = './ce_resnet8_digits.py'\n"
        "test_evaluator = dict(_delete_=True, type='DumpResults', out_file_path='x.pkl')\n")
    with pytest.raises(ValueError, match='test_evaluator has no metric that makes a record'):
        train(configs, 'unmeasured', tmp_path)
    assert not list(tmp_path.rglob('*.pth'))


def test_an_option_that_an_earlier_stage_does_not_take_names_the_stage(configs):
    with pytest.raises(ValueError, match="^ce_resnet8_digits, an earlier stage.*no argument 'tau'"):
        stages(configs / 'tau-norm_resnet8_digits.py',
               Options(cfg_options={'model.head.tau': 0.5}))


def test_a_record_says_what_the_best_epoch_and_the_weights_were_chosen_on(configs, tmp_path):
    dev = dict(train_dataloader__dataset__held_out=2, val_dataloader__dataset__held_out=2,
               val_dataloader__dataset__split='dev', train_cfg__max_epochs=1,
               train_cfg__val_interval=1)
    assert train(configs, 'ce', tmp_path / 'dev', **dev)['best']['on'] == 'validation'
    record = train(configs, 'ce', tmp_path / 'best',
                   default_hooks__checkpoint__save_best='accuracy')
    assert record['best']['on'] == 'test' and not record['selected_on_test']
    folder = folder_of(tmp_path / 'best', 'ce')
    path, = folder.glob('best_accuracy_epoch_*.pth')
    options = Options(work_dir=tmp_path / 'test')
    cfg = load_config(configs / 'ce_resnet8_digits.py', options)
    record = stage.test_checkpoint(configs / 'ce_resnet8_digits.py', cfg, path, options)
    assert record['selected_on_test']


def from_the_best(folder, more=''):
    """A recipe whose second stage starts from the best checkpoint of the first."""
    folder.mkdir()
    (folder / 'ce_resnet8_digits.py').write_text(CE + more)
    path = folder / 'crt_resnet8_digits.py'
    path.write_text(RECIPES['crt'].replace('parts=', "checkpoint='best', parts="))
    return path


@pytest.mark.parametrize('dev', [False, True])
def test_a_stage_may_start_from_the_best_checkpoint_and_says_how_that_was_chosen(tmp_path, dev):
    more = "default_hooks = dict(checkpoint=dict(interval=1, save_best='accuracy'))"
    more += ('\ntrain_dataloader = dict(dataset=dict(held_out=2))'
             "\nval_dataloader = dict(dataset=dict(held_out=2, split='dev'))" if dev else '')
    path = from_the_best(tmp_path / 'configs', more)
    runs = tmp_path / 'runs'
    first = runs / 'ce_resnet8_digits'
    run(path.parent / 'ce_resnet8_digits.py', Options(work_dir=first))
    [best] = first.glob('best_*.pth')
    shutil.copy(first / 'epoch_2.pth', best)
    record = run(path, Options(work_dir=runs / 'crt_resnet8_digits'))
    start = {name: value for name, value in state_of(runs, 'crt', 1).items()
             if name.startswith('backbone.')}
    second, third = state_of(runs, 'ce', 2), state_of(runs, 'ce', 3)
    assert all(torch.equal(value, second[name]) for name, value in start.items())
    assert not all(torch.equal(value, third[name]) for name, value in start.items())
    assert record['selected_on_test'] is not dev


def test_that_no_best_checkpoint_would_be_kept_is_found_before_the_training(tmp_path):
    path = from_the_best(tmp_path / 'configs')
    with pytest.raises(ValueError, match="save_best='accuracy' there"):
        run(path, Options(work_dir=tmp_path / 'runs' / 'crt'))
    assert not (tmp_path / 'runs').exists()
    with pytest.raises(ValueError, match="checkpoint='first' must be 'last' or 'best'"):
        load_config('crt_resnet20_digits', Options(cfg_options={'init_from.checkpoint': 'first'}))


def test_a_stage_may_start_from_a_file(configs, runs, trained, tmp_path, capsys):
    source = folder_of(trained, 'ce') / 'epoch_2.pth'
    text = RECIPES['crt'].replace("config='ce_resnet8_digits.py'", f'checkpoint={str(source)!r}')
    path = tmp_path / 'mine_resnet8_digits.py'
    path.write_text(text.replace('./ce', str(configs / 'ce')))
    record = run(path, Options(work_dir=tmp_path / 'mine'))
    assert 'init from ce_resnet8_digits: backbone' in capsys.readouterr().out
    start, found = torch.load(source)['state_dict'], torch.load(tmp_path / 'mine' / 'epoch_1.pth')
    assert all(torch.equal(value, start[name]) for name, value in found['state_dict'].items()
               if name.startswith('backbone.'))
    assert not record['selected_on_test'] and not (tmp_path / 'ce_resnet8_digits').exists()
    path.write_text(path.read_text().replace('epoch_2', 'epoch_9'))
    with pytest.raises(FileNotFoundError, match='init_from.checkpoint: there is no file'):
        run(path, Options(work_dir=tmp_path / 'other'))
    torch.save(dict(model={}), tmp_path / 'epoch_9.pth')
    path.write_text(path.read_text().replace(str(source.parent), str(tmp_path)))
    with pytest.raises(ValueError, match="epoch_9.pth is no checkpoint of ltcls, it has"):
        run(path, Options(work_dir=tmp_path / 'other'))


def test_images_that_are_trained_on_are_not_validated_on(configs, tmp_path):
    with pytest.raises(ValueError, match='^20 of the 20 images of val_dataloader.dataset are also'):
        train(configs, 'ce', tmp_path, val_dataloader__dataset__split='dev',
              val_dataloader__dataset__held_out=2, train_dataloader__dataset__imbalance=1)
    assert not list(tmp_path.rglob('*.pth'))


def test_a_model_of_which_nothing_trains_is_refused(configs, tmp_path):
    with pytest.raises(ValueError, match='leaves nothing to train: free a part, or set train_cfg.'):
        train(configs, 'ce', tmp_path, model__frozen=['backbone', 'head'])


def test_a_finished_run_of_another_length_is_called_finished(configs, runs):
    with pytest.raises(ValueError, match='holds a finished run of another config: they differ in '
                                         r'.*train_cfg.max_epochs \(3 and 9\)'):
        train(configs, 'ce', runs, train_cfg__max_epochs=9)


def test_a_file_is_no_folder_for_a_run(configs, tmp_path):
    (tmp_path / 'ce_resnet8_digits').touch()
    with pytest.raises(ValueError, match='ce_resnet8_digits is a file: choose another folder'):
        train(configs, 'ce', tmp_path)


def test_an_option_that_the_last_stage_does_not_take_says_that_all_take_it(configs):
    with pytest.raises(ValueError, match="no argument 'radius'.* Options of the command line"):
        stages(configs / 'crt_resnet8_digits.py',
               Options(cfg_options={'optim_wrapper.radius': 0.01}))


def test_another_number_of_iterations_is_not_resumed(configs, runs, trained):
    folder = folder_of(runs, 'ce')
    content = torch.load(folder / 'epoch_2.pth', weights_only=True)
    content['meta']['iter'] *= 2
    torch.save(content, folder / 'epoch_2.pth')
    (folder / 'epoch_3.pth').unlink()
    (folder / 'last_checkpoint').unlink()
    with pytest.raises(ValueError, match='continue with as many processes as before'):
        train(configs, 'ce', runs, resume=True)


def test_resuming_from_a_named_checkpoint_goes_on_there(configs, runs, capsys):
    folder = folder_of(runs, 'ce')
    for name in ('epoch_3.pth', 'evaluation.json', 'last_checkpoint'):
        (folder / name).unlink()
    shutil.copy(folder / 'epoch_2.pth', folder / 'epoch_1.pth')
    train(configs, 'ce', runs, resume=str(folder / 'epoch_1.pth'))
    assert 'continuing from epoch_1.pth' in capsys.readouterr().out


@pytest.mark.parametrize(('changes', 'difference'), [
    ({'model.loss.type': 'LogitAdjustedLoss'}, r'model.loss.type .* with other --cfg-options, rep'),
    (AMP, r'model.channels_last .* without --amp, leave it out'),
    ({'randomness.seed': 5}, r'randomness.seed \(0 and 5\).* with --seed 0, repeat it'),
    ({'train_cfg.max_epochs': 9, 'train_cfg.val_interval': 1, 'test_evaluator.topk': [3],
      'default_hooks.checkpoint.interval': 5}, None)])
def test_a_checkpoint_elsewhere_is_gone_on_from_with_its_config_for_longer_and_kept_otherwise(
        configs, trained, tmp_path, changes, difference):
    source = folder_of(trained, 'ce') / 'epoch_2.pth'
    alone = Path(shutil.copy(source, tmp_path))
    cfg = load_config(configs / 'ce_resnet8_digits.py',
                      Options(work_dir=tmp_path / 'run', cfg_options=changes))
    recipe._check_folder(cfg, resume=str(alone))
    if difference is None:
        recipe._check_folder(cfg, resume=str(source))
        return
    with pytest.raises(ValueError, match=f'^--resume: {source} is of a run of another config: they '
                                         f'differ in {difference}.*; otherwise start from it'):
        recipe._check_folder(cfg, resume=str(source))


def test_a_refused_checkpoint_leaves_the_config_of_the_run_as_it_was(configs, runs, tmp_path):
    alone = shutil.copy(folder_of(runs, 'ce') / 'epoch_2.pth', tmp_path)
    stored = folder_of(runs, 'ce') / 'config.json'
    before = stored.read_bytes()
    with pytest.raises(ValueError, match="holds 'head.bias', which the model of this config does"):
        train(configs, 'ce', runs, resume=alone, train_cfg__max_epochs=4,
              model__head__type='CosineHead')
    assert stored.read_bytes() == before
