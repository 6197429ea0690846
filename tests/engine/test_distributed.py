"""Several ranks on CPUs: `ltcls train CONFIG --launcher pytorch`, over gloo."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from processes import command, ranks
from torch import nn
from torch.testing import assert_close

from ltcls.engine.distributed import setup_distributed
from ltcls.engine.prepare import (Options, first_difference, load_config, patience,
                                  plain_config)
from ltcls.evaluation.record import read_record

CE = '''
_base_ = 'ltcls::ce/ce_resnet20_digits.py'
custom_imports = dict(imports=['lt_test_hooks'])
model = dict(backbone=dict(depth=8))
train_dataloader = dict(batch_size=32)
param_scheduler = None
custom_hooks = [dict(type='KillHook')]
train_cfg = dict(max_epochs=2, val_interval=1)
'''
TAU_NORM = '''
_base_ = './ce_resnet8_digits.py'
init_from = dict(config='ce_resnet8_digits.py', parts=['backbone', 'head'])
model = dict(frozen=['backbone'], head=dict(type='TauNormHead'))
train_cfg = dict(max_epochs=0)
'''


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    (folder / 'ce_resnet8_digits.py').write_text(CE)
    (folder / 'tau-norm_resnet8_digits.py').write_text(TAU_NORM)
    return folder / 'tau-norm_resnet8_digits.py'


@pytest.fixture(scope='module')
def finished(recipe, tmp_path_factory):
    """The folder of two stages, trained and tested by two ranks, with the weights of each rank."""
    folder = tmp_path_factory.mktemp('runs')
    statuses = ranks(
        2, 'train', recipe, '--launcher', 'pytorch', '--work-dir', folder / recipe.stem,
        output=folder / 'out.txt', LTCLS_TEST_WEIGHTS=str(folder))
    said = [(folder / f'out.{rank}').read_text() for rank in range(2)]
    assert statuses == [0, 0], said
    return folder


def test_ranks_end_with_equal_weights_that_training_has_moved(finished):
    for stage in ('ce_resnet8_digits', 'tau-norm_resnet8_digits'):
        first, second = (torch.load(finished / f'{stage}_{rank}.pth') for rank in range(2))
        for name, value in first.items():
            assert torch.equal(value, second[name]), name
    saved = torch.load(finished / 'ce_resnet8_digits' / 'epoch_2.pth')['state_dict']
    trained = torch.load(finished / 'ce_resnet8_digits_0.pth')
    assert all(torch.equal(saved[name], value) for name, value in trained.items())
    momenta = torch.load(finished / 'ce_resnet8_digits' / 'epoch_2.pth')['optimizer']['state']
    assert len(momenta) == len([n for n in saved if n.endswith(('weight', 'bias'))])
    assert all(state['momentum_buffer'].any() for state in momenta.values())


def test_each_test_image_counts_once(finished):
    record = read_record(finished / 'ce_resnet8_digits' / 'evaluation.json')
    assert record['overall']['images'] == 500
    assert [row['total'] for row in record['per_class']] == [50] * 10
    assert sum(sum(row) for row in record['confusion']) == 500


def test_an_epoch_is_shared_by_the_ranks(finished):
    # 353 images in batches of 32 on two ranks: six iterations an epoch, not twelve.
    content = torch.load(finished / 'ce_resnet8_digits' / 'epoch_2.pth')
    assert content['meta']['iter'] == 2 * 6
    lines = (finished / 'ce_resnet8_digits' / 'log.jsonl').read_text().splitlines()
    assert [json.loads(line)['epoch'] for line in lines] == [1, 2]


def test_a_stage_with_nothing_to_train_runs_on_two_ranks_too(finished):
    folder = finished / 'tau-norm_resnet8_digits'
    assert read_record(folder / 'evaluation.json')['epoch'] == 0
    earlier = torch.load(finished / 'ce_resnet8_digits' / 'epoch_2.pth')['state_dict']
    saved = torch.load(folder / 'epoch_0.pth')['state_dict']
    assert all(torch.equal(value, earlier[name]) for name, value in saved.items())


def test_the_first_rank_alone_speaks(finished):
    assert 'epoch 2/2' in (finished / 'out.0').read_text()
    assert 'epoch' not in (finished / 'out.1').read_text()


def test_two_ranks_rehearse_a_recipe_in_one_folder(recipe, tmp_path):
    assert ranks(2, 'train', recipe, '--launcher', 'pytorch', '--dry-run',
                 output=tmp_path / 'out.txt', TMPDIR=str(tmp_path)) == [0, 0]
    said = [(tmp_path / f'out.{rank}').read_text() for rank in range(2)]
    assert said[0].count('rehearsed') == 2 and 'every stage trained' in said[0]
    assert 'dry run' not in said[1]
    assert not list(tmp_path.glob('ltcls-dry-run-*'))


def test_machines_without_a_common_folder_are_told_before_training(recipe, tmp_path):
    for rank in range(2):
        (tmp_path / f'machine{rank}').mkdir()
    assert ranks(2, 'train', recipe, '--launcher', 'pytorch', '--work-dir', 'run/tau-norm',
                 output=tmp_path / 'out.txt', FOLDER=str(tmp_path / 'machine')) == [2, 2]
    for rank in range(2):
        assert 'Process 1 does not see' in (tmp_path / f'out.{rank}').read_text()
        assert not list((tmp_path / f'machine{rank}').rglob('*.pth'))


def test_an_error_on_all_ranks_ends_all_of_them(recipe, tmp_path):
    statuses = ranks(2, 'train', recipe, '--launcher', 'pytorch', '--work-dir', tmp_path / 'run',
                     '--cfg-options', 'model.frozen=["neck"]', output=tmp_path / 'out.txt')
    assert statuses == [2, 2]
    assert "error: model.frozen names 'neck'" in (tmp_path / 'out.0').read_text()


# -- any number of ranks is one process -----------------------------------------------------

FLAT = """
_base_ = 'ltcls::ce/ce_resnet20_digits.py'
custom_imports = dict(imports=['lt_test_hooks'])
model = dict(type='DoubleClassifier', backbone=dict(_delete_=True, type='FlatBackbone'))
data_preprocessor = dict(augment=[])
train_dataloader = dict(batch_size=60, drop_last=True)
param_scheduler = [dict(type='LinearLR', start_factor=0.5, end=2)]
custom_hooks = [dict(type='KillHook')]
train_cfg = dict(max_epochs=2, val_interval=1)
"""
BALANCED = """
_base_ = './ce_flat_digits.py'
init_from = dict(config='ce_flat_digits.py', parts=['backbone'])
model = dict(frozen=['backbone'])
train_dataloader = dict(drop_last=False, sampler=dict(type='ClassBalancedSampler'))
"""
STAGES = ('ce_flat_digits', 'crt_flat_digits')
IMAGES = 353


@pytest.fixture(scope='module')
def flat(tmp_path_factory):
    """Two stages, the second on class-balanced samples; float64 without batch norm."""
    folder = tmp_path_factory.mktemp('flat')
    for name, text in zip(STAGES, (FLAT, BALANCED)):
        (folder / f'{name}.py').write_text(text)
    return folder / 'crt_flat_digits.py'


@pytest.fixture(scope='module')
def shared(flat, tmp_path_factory):
    """Folders of the same recipe by one process, two ranks and three, in the same total batch."""
    found = {}
    for count in (1, 2, 3):
        folder = found[count] = tmp_path_factory.mktemp(f'ranks{count}')
        arguments = ['train', flat, '--work-dir', folder / flat.stem, '--cfg-options',
                     f'train_dataloader.batch_size={60 // count}']
        options = dict(output=folder / 'out.txt', LTCLS_TEST_WEIGHTS=str(folder))
        if count == 1:
            statuses = [command(*arguments, **options)]
        else:
            statuses = ranks(count, *arguments, '--launcher', 'pytorch', **options)
        assert statuses == [0] * count, [p.read_text() for p in folder.glob('out.*')]
    return found


def kept(folder, stage, count, what=''):
    return [torch.load(folder / f'{stage}_{rank}{what}.pth') for rank in range(count)]


def test_ranks_with_a_share_of_the_batch_each_are_one_process_with_the_whole(shared):
    [alone] = kept(shared[1], 'ce_flat_digits', 1)
    for count in (2, 3):
        together = kept(shared[count], 'ce_flat_digits', count)[0]
        assert together['head.weight'].dtype == torch.float64
        for name, value in alone.items():
            assert_close(together[name], value, atol=1e-10, rtol=0)


@pytest.mark.parametrize('stage', STAGES)
def test_three_ranks_agree_after_every_stage_also_with_an_uneven_last_batch(shared, stage):
    # The second stage draws 118 images a rank in batches of 20.
    first, *others = kept(shared[3], stage, 3)
    for other in others:
        assert all(torch.equal(value, other[name]) for name, value in first.items())


def test_ranks_draw_the_classes_that_one_process_draws(shared):
    [alone] = kept(shared[1], 'crt_flat_digits', 1, '_drawn')
    assert alone.sum() == 2 * IMAGES and (alone > 40).all()
    for count in (2, 3):
        together = sum(kept(shared[count], 'crt_flat_digits', count, '_drawn'))
        # Where the ranks cannot share an epoch evenly, its first draws are repeated at its end.
        repeated = together - alone
        assert repeated.min() >= 0 and repeated.sum() == 2 * (-IMAGES % count)


@pytest.mark.parametrize('count', [1, 2, 3])
def test_every_test_image_counts_once_though_three_ranks_cannot_share_them_evenly(shared, count):
    record = read_record(shared[count] / 'crt_flat_digits' / 'evaluation.json')
    assert record['overall']['images'] == 500
    assert [row['total'] for row in record['per_class']] == [50] * 10
    alone = read_record(shared[1] / 'ce_flat_digits' / 'evaluation.json')
    record = read_record(shared[count] / 'ce_flat_digits' / 'evaluation.json')
    assert record['confusion'] == alone['confusion']


# -- what happens to one rank ---------------------------------------------------------------


def with_fault(flat, **fault) -> Path:
    path = flat.parent / 'faulty_flat_digits.py'
    path.write_text(f"_base_ = './ce_flat_digits.py'\n"
                    f'custom_hooks = [dict(type="FaultHook", **{fault!r})]\n')
    return path


def test_a_loss_that_is_no_number_on_one_rank_ends_all_with_the_same_line(flat, tmp_path):
    path = with_fault(flat, moments=[(1, 1)], rank=1)
    statuses = ranks(2, 'train', path, '--launcher', 'pytorch', '--work-dir', tmp_path / 'run',
                     output=tmp_path / 'out.txt')
    said = [(tmp_path / f'out.{rank}').read_text() for rank in range(2)]
    assert statuses == [2, 2], said
    for text in said:
        assert ('error: The loss became nan at iteration 4 (epoch 2, batch 2) on rank 1: component '
                "'loss' of CrossEntropyLoss.") in text


def test_a_step_that_is_dropped_on_one_rank_is_dropped_on_all(flat, tmp_path):
    path = with_fault(flat, moments=[(0, 0), (1, 1)], rank=1)
    statuses = ranks(2, 'train', path, '--launcher', 'pytorch', '--work-dir', tmp_path / 'run',
                     '--on-nan', 'skip', output=tmp_path / 'out.txt')
    said = [(tmp_path / f'out.{rank}').read_text() for rank in range(2)]
    assert statuses == [0, 0], said
    assert 'epoch 2: 1 of 2 steps dropped' in said[0]
    log = [json.loads(line) for line in (tmp_path / 'run' / 'log.jsonl').read_text().splitlines()]
    assert [entry['dropped_steps'] for entry in log] == [1, 2]
    content = torch.load(tmp_path / 'run' / 'epoch_2.pth')
    assert all(value.isfinite().all() for value in content['state_dict'].values())


def test_sigterm_leaves_a_checkpoint_from_which_two_ranks_go_on_as_if_nothing_was(
        flat, shared, tmp_path):
    arguments = ['train', flat, '--launcher', 'pytorch', '--work-dir', tmp_path / flat.stem,
                 '--cfg-options', 'train_dataloader.batch_size=30']
    statuses = ranks(2, *arguments, output=tmp_path / 'out.txt', LTCLS_TEST_SIGNAL='SIGTERM',
                     LTCLS_TEST_KILL='ce_flat_digits after_train_iter 1 3')
    assert statuses == [143, 143]
    assert 'stopped: SIGTERM: ' in (tmp_path / 'out.0').read_text()
    assert torch.load(tmp_path / 'ce_flat_digits' / 'epoch_1.pth')['meta']['epoch'] == 1
    assert ranks(2, *arguments, '--resume', output=tmp_path / 'again.txt') == [0, 0]
    assert 'continuing from epoch_1.pth' in (tmp_path / 'again.0').read_text()
    for stage in STAGES:
        states = [torch.load(folder / stage / 'epoch_2.pth') for folder in (tmp_path, shared[2])]
        for name, value in states[0]['state_dict'].items():
            assert torch.equal(value, states[1]['state_dict'][name]), name


def test_the_script_ends_the_job_when_a_rank_fails_and_shows_its_error(flat, tmp_path):
    """tools/dist_train.sh with torchrun underneath; without GPUs it meets over gloo."""
    path = with_fault(flat, moments=[(0, 1)], rank=1, breaks=True)
    here = Path(__file__).parent
    done = subprocess.run(
        [here.parents[1] / 'tools' / 'dist_train.sh', path, '2', '--work-dir', tmp_path / 'run'],
        text=True, capture_output=True, timeout=600, cwd=tmp_path, env={
            **os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '',
            'PYTHONPATH': os.pathsep.join([str(here), str(here.parents[1])])})
    ended = time.time()
    assert done.returncode not in (0, 2), done.stdout + done.stderr
    assert 'error: rank 1 is broken on purpose' in done.stderr
    assert ended - float(re.search(r'broken at ([\d.]+)', done.stdout)[1]) < 60


def test_one_process_needs_no_group():
    with setup_distributed('none'):
        assert not torch.distributed.is_initialized()
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match='--launcher slurm needs GPUs'):
            with setup_distributed('slurm'):
                pass


def test_processes_wait_for_each_other_as_long_as_the_config_says(recipe, monkeypatch):
    options = Options(launcher='pytorch', cfg_options={'env_cfg.dist_cfg.timeout': 7})
    if not torch.cuda.is_available():
        for name, value in dict(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1',
                                MASTER_PORT='0').items():
            monkeypatch.setenv(name, value)
        with setup_distributed('pytorch', patience(recipe, options)):
            group = torch.distributed.distributed_c10d._get_default_group()
            backend = group._get_backend(torch.device('cpu'))
            assert backend.options._timeout == timedelta(seconds=7)
    assert patience(recipe, Options(launcher='pytorch')) is None
    a, b = (plain_config(load_config(recipe, each)) for each in (options, Options()))
    assert a != b and first_difference(a, b) is None


@pytest.mark.parametrize('name, value, message', [
    ('backend', 'mpi', "backend='mpi': processes meet over 'nccl' on GPUs"),
    ('timeout', 0, 'timeout=0 must be an integer of at least 1')])
def test_what_processes_cannot_do_is_refused(recipe, name, value, message):
    with pytest.raises(ValueError, match=message):
        load_config(recipe, Options(cfg_options={f'env_cfg.dist_cfg.{name}': value}))


def test_the_launcher_is_not_part_of_the_experiment(recipe):
    one, many = (load_config(recipe, Options(launcher=name)) for name in ('none', 'pytorch'))
    assert first_difference(plain_config(one), plain_config(many)) is None


def test_the_wrapper_shows_the_attributes_of_the_classifier(monkeypatch):
    from torch.nn.parallel import DistributedDataParallel

    from ltcls.models import DistributedClassifier
    given = {}

    def fake(self, module, **kwargs):
        nn.Module.__init__(self)
        self.module, given['kwargs'] = module, kwargs
        given['trainable'] = any(p.requires_grad for p in module.parameters())
    monkeypatch.setattr('mmengine.model.MMDistributedDataParallel.__init__', fake)
    assert issubclass(DistributedClassifier, DistributedDataParallel)
    model = nn.Linear(2, 3).requires_grad_(False)
    wrapper = DistributedClassifier(model, device_ids=[0])
    assert wrapper.in_features == 2 and given['kwargs'].pop('device_ids') is None
    assert list(given['kwargs'].values()) == [False]        # buffers are not broadcast
    assert given['trainable'] and not any(p.requires_grad for p in model.parameters())
    with pytest.raises(AttributeError, match='no attribute'):
        wrapper.nothing


# -- the scripts ----------------------------------------------------------------------------


def script(name, *arguments, **environment) -> str:
    tools = Path(__file__).resolve().parents[2] / 'tools'
    given = {key: value for key, value in os.environ.items()
             if key not in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT')}
    done = subprocess.run([tools / name, *arguments], text=True, capture_output=True,
                          env={**given, 'PYTHON': 'echo', **environment})
    return done.stdout.replace(str(tools), 'tools').strip() if not done.returncode else done.stderr


def test_scripts_start_torchrun_on_one_machine_or_on_several():
    assert script('dist_train.sh', 'a.py', '2', '--cfg-options', 'b=[1, 2]') == (
        '-m torch.distributed.run --standalone --nnodes 1 --nproc_per_node 2 tools/train.py a.py '
        '--launcher pytorch --cfg-options b=[1, 2]')
    assert script('dist_test.sh', 'a.py', 'c.pth', '4', NNODES='3', NODE_RANK='2',
                  MASTER_ADDR='first') == (
        '-m torch.distributed.run --node_rank 2 --master_addr first --master_port 29500 --nnodes 3 '
        '--nproc_per_node 4 tools/test.py a.py c.pth --launcher pytorch')
    assert 'usage: tools/dist_train.sh CONFIG GPUS' in script('dist_train.sh', 'a.py', '--seed')
    assert 'usage: tools/dist_test.sh' in script('dist_test.sh', 'a.py', '2')


def test_the_cluster_script_starts_one_torchrun_a_machine(tmp_path):
    """`srun` runs the command once for each of two machines; `scontrol` knows the first."""
    for name, text in (
            ('srun', 'echo "$@" | tr "\\n" " "; echo\nwhile [ "$1" != bash ]; do shift; done\n'
                     'for SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@"; done\n'),
            ('scontrol', 'echo node7; echo node8\n')):
        (tmp_path / name).write_text(f'#!/bin/bash\n{text}')
        (tmp_path / name).chmod(0o755)
    said = script('slurm_train.sh', 'gpu', 'job', 'a.py', 'runs/a', '--seed', '1', GPUS='16',
                  SRUN_ARGS='--time=1:00', PATH=f"{tmp_path}:{os.environ['PATH']}",
                  SLURM_JOB_NODELIST='node[7-8]').splitlines()
    assert said[0].startswith('-p gpu --job-name=job --nodes=2 --ntasks=2 --ntasks-per-node=1 '
                              '--gres=gpu:8 --cpus-per-task=40 --kill-on-bad-exit=1 --time=1:00')
    assert said[-2:] == [
        f'-m torch.distributed.run --node_rank {rank} --master_addr node7 --master_port 29500 '
        '--nnodes 2 --nproc_per_node 8 tools/train.py a.py --launcher pytorch --work-dir runs/a '
        '--seed 1' for rank in (0, 1)]
    assert 'no multiple' in script('slurm_train.sh', 'gpu', 'job', 'a.py', 'runs/a', GPUS='12')
