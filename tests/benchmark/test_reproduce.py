"""The queue over the ledger's open rows: order, shared stages, time limit, resuming; the pack."""

import importlib.util
import os
import platform
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def tool(name):
    """A script of tools/benchmark as a module."""
    if name not in sys.modules:
        path = ROOT / 'tools' / 'benchmark' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


reproduce, pack = tool('reproduce'), tool('pack')
Stage, Target = reproduce.Stage, reproduce.Target
DATA = {'CIFAR-10-LT': dict(folder='cifar10', original='cifar10-original'),
        'CIFAR-100-LT': dict(folder='cifar100'),
        'Tiny-100-LT': dict(folder='tiny100')}


def row(config, dataset='CIFAR-10-LT IF100', system=None, seeds=(), stand_in=False,
        doubtful=False, data=None):
    factor = int(dataset.split(' IF')[1]) if ' IF' in dataset else None
    return dict(config=config, method=config, dataset=dataset, system=system, imbalance=factor,
                stand_in=stand_in, doubtful=doubtful, data=data,
                ours=dict(seeds=list(seeds)) if seeds else None)


def queue_of(rows, tmp_path, seeds=(0,), only='', folders=('cifar10', 'tiny100')):
    for folder in folders:
        (tmp_path / folder).mkdir(exist_ok=True)
    return reproduce.open_targets(rows, DATA, list(seeds), tmp_path, only)


class World:
    """A clock, and stages that take as many seconds as they have epochs; one epoch a checkpoint."""

    def __init__(self, recipes, root):
        self.time, self.log, self.at_once, self.root = 0.0, [], [], root
        self.recipes, self.trainings, self.broken = recipes, [], set()
        self.collected, self.said = [], []

    def chain(self, target):
        names = self.recipes[target.config]
        return [Stage(target._replace(config=name), epochs) for name, epochs in names]

    def start(self, stage):
        training = FakeTraining(self, stage)
        self.trainings.append(training)
        self.at_once.append([t.name for t in self.trainings if t.poll() is None])
        assert len(set(self.at_once[-1])) == len(self.at_once[-1]), 'one stage twice at a time'
        self.log.append((training.name, self.time))
        return training

    def sleep(self, seconds):
        self.time += seconds
        for training in self.trainings:
            training.advance(seconds)

    def run(self, targets, **options):
        given = dict(collect=lambda stage: self.collected.append(stage.target.config),
                     chain=self.chain, clock=lambda: self.time, sleep=self.sleep,
                     say=self.said.append)
        queue = reproduce.Queue(targets, self.start, **{**given, **options})
        queue.run()
        return queue


class FakeTraining:
    """Continues the folder's last checkpoint, as tools/train.py --resume does."""

    def __init__(self, world, stage):
        self.world, self.stage = world, stage
        self.name = (stage.target.config, stage.target.seed)
        self.folder = reproduce.ROOT / stage.target.work_dir
        self.folder.mkdir(parents=True, exist_ok=True)
        self.epoch = max([int(p.stem[6:]) for p in self.folder.glob('epoch_*.pth')], default=0)
        self.status = None

    def advance(self, seconds):
        if self.status is not None:
            return
        if self.stage.target.config in self.world.broken:
            self.status = 2
            return
        self.epoch += int(seconds)
        (self.folder / f'epoch_{min(self.epoch, self.stage.epochs)}.pth').touch()
        if self.epoch >= self.stage.epochs:
            (self.folder / 'evaluation.json').touch()
            self.status = 0

    def poll(self):
        return self.status

    def ask(self):
        self.asked = True

    def stop(self):
        if self.status is None:
            self.status = -15


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, 'ROOT', tmp_path)
    return World(dict(
        gcl=[('gcl', 10)],
        crt=[('gcl', 10), ('crt', 3)],
        lws=[('gcl', 10), ('lws', 3)],
        ce=[('ce', 5)],
        tau=[('ce', 5), ('tau', 0)]), tmp_path)


def target(config, seed=0):
    return Target(config, seed, 'cifar10', False)


# -- what is run, and in which order ------------------------------------------------------------

def test_the_four_systems_on_cifar10_come_first_then_baselines_then_the_stand_in(tmp_path):
    rows = [row('ce_tiny', 'Tiny-100-LT IF100', stand_in=True),
            row('gcl_tiny', 'Tiny-100-LT IF100', 'gcl', stand_in=True),
            row('ce'), row('gcl-if50', 'CIFAR-10-LT IF50', 'gcl'), row('gcl', system='gcl'),
            row('gcl-cos', system='gcl', doubtful=True), row('cc_sam', system='cc_sam')]
    targets, _ = queue_of(rows, tmp_path)
    assert [t.config for t in targets] == [
        'gcl', 'cc_sam', 'gcl-if50', 'gcl-cos', 'ce', 'gcl_tiny', 'ce_tiny']


def test_one_seed_of_everything_comes_before_the_second_of_anything(tmp_path):
    targets, _ = queue_of([row('ce'), row('gcl', system='gcl')], tmp_path, seeds=(0, 1))
    assert [(t.config, t.seed) for t in targets] == [('gcl', 0), ('ce', 0), ('gcl', 1), ('ce', 1)]


def test_rows_that_share_a_config_are_one_run_and_seeds_with_a_record_are_done(tmp_path):
    rows = [row('ce', seeds=[0]), row('ce', seeds=[0]), row('mixup', seeds=[0, 1])]
    targets, _ = queue_of(rows, tmp_path, seeds=(0, 1))
    assert [(t.config, t.seed) for t in targets] == [('ce', 1)]


def test_only_is_a_pattern_on_config_method_and_data(tmp_path):
    rows = [row('ce'), row('gcl-crt', system='gcl'), row('ce-if50', 'CIFAR-10-LT IF50')]
    assert [t.config for t in queue_of(rows, tmp_path, only='GCL')[0]] == ['gcl-crt']
    assert [t.config for t in queue_of(rows, tmp_path, only='^ce$')[0]] == ['ce']
    assert [t.config for t in queue_of(rows, tmp_path, only='IF50')[0]] == ['ce-if50']
    with pytest.raises(ValueError, match="--only 'gcrt' fits no config, method or data set"):
        queue_of(rows, tmp_path, only='gcrt')


def test_rows_without_data_or_without_a_config_are_left_out(tmp_path):
    rows = [row('a', 'CIFAR-100-LT IF100'), row('b', 'ImageNet-LT'), row('ce')]
    rows.append(dict(row('c'), config=None))
    targets, left_out = queue_of(rows, tmp_path)
    assert [t.config for t in targets] == ['ce']
    assert ['CIFAR-100-LT' in left_out[0], 'ImageNet-LT' in left_out[1]] == [True, True]


def test_original_images_go_first_and_open_what_copies_have_answered(tmp_path):
    rows = [row('ce', seeds=[0], data='encoded anew'), row('gcl', seeds=[0]), row('ldam')]
    assert [t.config for t in queue_of(rows, tmp_path)[0]] == ['ldam']
    targets, _ = queue_of(rows, tmp_path, folders=('cifar10-original',))
    assert {t.config for t in targets} == {'ce', 'ldam'}
    assert {t.data for t in targets} == {'cifar10-original'}
    paths = {t.work_dir for t in targets}
    assert {path.parent.name for path in paths} == {'cifar10-original-seed0'}
    assert {t.record.parent for t in targets} == {Path('reproduce/cifar10-original')}


def test_the_stand_in_has_folders_and_records_of_its_own(tmp_path):
    rows = [row('ce', 'CIFAR-100-LT IF100'), row('ce', 'Tiny-100-LT IF100', stand_in=True)]
    (cifar, tiny), _ = queue_of(rows, tmp_path, folders=('cifar100', 'tiny100'))
    assert cifar.work_dir != tiny.work_dir
    assert cifar.record != tiny.record
    assert str(cifar.work_dir) == 'work_dirs/reproduce/seed0/ce'


def test_the_real_queue_knows_every_stage_of_a_recipe():
    first, second = reproduce.chain(target('gcl-crt_resnet32_cifar10', 1))
    assert first.target.config == 'gcl_resnet32_cifar10'
    assert second.target == target('gcl-crt_resnet32_cifar10', 1)
    assert (first.epochs, second.epochs) == (200, 30)
    assert first.target.work_dir.parent == second.target.work_dir.parent


def test_the_command_resumes_and_is_one_that_train_accepts():
    from ltcls.cli import parser
    words = reproduce.command(target('ce_resnet32_cifar10'), Path('data'), 'bfloat16')
    options = parser().parse_args(['train', *words[2:]])
    assert options.resume is True
    assert (options.seed, options.amp, options.data_root) == (0, True, 'data/cifar10')
    assert '--amp' not in reproduce.command(target('ce'), Path('data'), 'float32')


# -- running ------------------------------------------------------------------------------------

def test_a_stage_that_two_recipes_share_is_trained_once_and_both_wait_for_it(world):
    world.run([target('crt'), target('lws'), target('gcl')], parallel=3)
    assert [name for (name, _), _ in world.log] == ['gcl', 'crt', 'lws']
    assert [time for _, time in world.log] == [0, 10, 10]
    assert world.collected == ['gcl', 'crt', 'lws']


def test_places_that_one_recipe_cannot_use_go_to_the_next(world):
    world.run([target('crt'), target('ce')], parallel=2)
    assert [(name, time) for (name, _), time in world.log] == [('gcl', 0), ('ce', 0), ('crt', 10)]


def test_no_more_run_at_once_than_asked_for(world):
    world.run([target('gcl', seed) for seed in range(5)], parallel=2)
    assert max(map(len, world.at_once)) == 2
    assert len(world.log) == 5


def test_stages_of_zero_epochs_are_run(world):
    world.run([target('tau')])
    assert world.collected == ['ce', 'tau']


def test_the_queue_stops_in_time_and_nothing_keeps_running(world):
    queue = world.run([target('gcl'), target('ce')], seconds=7)
    assert world.time == 7
    assert world.trainings[0].poll() == -15
    assert queue.interrupted == ['gcl seed 0']
    assert not queue.failed and world.collected == []


def test_what_was_interrupted_goes_on_where_it_was(world):
    world.run([target('gcl')], seconds=7)
    world.run([target('gcl')])
    assert world.log == [(('gcl', 0), 0), (('gcl', 0), 7)]
    assert world.time == 10      # 7 epochs, then the 3 that were left
    assert world.collected == ['gcl']


def test_what_finished_before_is_collected_and_not_run_again(world):
    world.run([target('crt')])
    world.log.clear(), world.collected.clear()
    world.run([target('crt')])
    assert world.log == []
    assert world.collected == ['gcl', 'crt']


def test_a_record_that_is_there_is_not_replaced_by_a_run_found_in_the_folder(world, monkeypatch,
                                                                            tmp_path):
    world.run([target('gcl')])
    world.collected.clear()
    monkeypatch.setattr(reproduce.ledger, 'RECORDS', tmp_path / 'records')
    record = tmp_path / 'records' / target('gcl').record
    record.parent.mkdir(parents=True)
    record.touch()
    world.run([target('crt')])
    assert world.collected == ['crt']


def test_a_failure_takes_its_recipes_along_and_leaves_the_others(world):
    world.broken = {'gcl'}
    queue = world.run([target('crt'), target('lws'), target('ce')])
    assert world.collected == ['ce']
    assert [name for (name, _), _ in world.log] == ['gcl', 'ce']
    assert [path.name for path in queue.failed] == ['gcl']
    assert 'exit status 2: see work_dirs/reproduce/seed0/gcl.log' in '\n'.join(world.said)


def test_a_record_that_cannot_be_kept_is_a_failure_of_its_recipes_alone(world):
    def collect(stage):
        if stage.target.config == 'gcl':
            raise ValueError('evaluation.json is empty')
        world.collected.append(stage.target.config)
    queue = world.run([target('crt'), target('ce')], collect=collect)
    assert world.collected == ['ce']
    assert [path.name for path in queue.failed] == ['gcl']
    said = '\n'.join(world.said)
    assert 'no record kept: evaluation.json is empty' in said
    assert 'left out crt seed 0: gcl failed' in said


def test_a_recipe_that_cannot_be_read_is_a_failure_of_its_own(world):
    def chain(target):
        if target.config == 'crt':
            raise ValueError('init_from leads back to this config itself')
        return World.chain(world, target)
    queue = world.run([target('crt'), target('ce')], chain=chain)
    assert world.collected == ['ce']
    assert [path.name for path in queue.failed] == ['crt']
    assert 'failed   crt seed 0: init_from leads back' in world.said[0]


def test_a_finished_run_whose_record_does_not_fill_its_row_is_named(world, monkeypatch, tmp_path):
    world.run([target('gcl')])
    monkeypatch.setattr(reproduce.ledger, 'RECORDS', tmp_path / 'records')
    record = tmp_path / 'records' / target('gcl').record
    record.parent.mkdir(parents=True)
    record.touch()
    world.said.clear()
    world.run([target('gcl')])
    assert len(world.said) == 1 and 'left out gcl seed 0: it is finished' in world.said[0]


def test_after_an_error_in_the_queue_itself_nothing_keeps_running(world):
    def sleep(seconds):
        raise KeyboardInterrupt
    world.sleep = sleep
    with pytest.raises(KeyboardInterrupt):
        world.run([target('gcl')])
    assert world.trainings[0].poll() == -15


def test_two_queues_do_not_run_at_once(tmp_path):
    with reproduce.alone(tmp_path / 'work' / '.lock'):
        with pytest.raises(SystemExit, match='another queue runs'):
            with reproduce.alone(tmp_path / 'work' / '.lock'):
                pass
    with reproduce.alone(tmp_path / 'work' / '.lock'):
        pass


class Recorded(FakeTraining):
    """Is done when it is first looked at; its record is a committed one."""

    def __init__(self, command, log, threads):
        self.command, self.threads, self.world, self.polls = command, threads, None, 0
        self.folder = reproduce.ROOT / command[command.index('--work-dir') + 1]
        self.folder.mkdir(parents=True)
        self.status = None
        Recorded.made.append(self)

    def poll(self):
        self.polls += 1
        if self.polls == 1 and self.status is None:
            self.at_first_poll()
        return self.status

    def at_first_poll(self):
        (self.folder / 'epoch_200.pth').touch()
        record = ROOT / 'docs/results/records/cifar10-200e/ce_resnet32_cifar10_seed0.json'
        (self.folder / 'evaluation.json').write_bytes(record.read_bytes())
        self.status = 0


@pytest.fixture
def queued(tmp_path, monkeypatch):
    """`main` over one config, with trainings that are none, in folders of the test."""
    records = tmp_path / 'records'
    monkeypatch.setattr(Recorded, 'made', [], raising=False)
    for module, name, value in (
            (reproduce, 'ROOT', tmp_path), (reproduce, 'Training', Recorded),
            (reproduce, 'open_targets', lambda *_: ([target('ce_resnet32_cifar10')], ['left'])),
            (reproduce, 'default_precision', lambda: 'float32'),
            (reproduce.ledger, 'RECORDS', records), (reproduce.ledger, 'read_runs', list),
            (reproduce.ledger, 'refresh', lambda: ['ledger written'])):
        monkeypatch.setattr(module, name, value)
    # Under nohup, or in the background of a script, signals are ignored from the beginning.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL,
             signal.SIGHUP: signal.SIG_DFL}
    handlers = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield records / 'reproduce' / 'ce_resnet32_cifar10_seed0.json'
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_the_record_of_a_finished_run_is_kept_and_the_ledger_written(queued, monkeypatch, capsys):
    monkeypatch.setattr(os, 'cpu_count', lambda: 9)
    assert reproduce.main(['--hours', '1', '--data-root', '/images', '--parallel', '4']) == 0
    assert reproduce.read_record(queued)['name'] == 'ce_resnet32_cifar10'
    [training] = Recorded.made
    assert training.command[-3:] == ['--data-root', '/images/cifar10', '--resume']
    assert training.threads == 2
    said = capsys.readouterr().out.splitlines()
    assert [said[0], *said[-2:]] == ['left', 'ledger written', '1 stages finished, 0 failed, '
                                     '0 interrupted, 0 configs to go']


def test_a_rehearsal_of_the_queue_says_which_stages_are_done(queued, monkeypatch, capsys):
    stages = [Stage(target('gcl'), 1), Stage(target('crt'), 1)]
    monkeypatch.setattr(reproduce, 'chain', lambda target: stages)
    folder = reproduce.ROOT / stages[0].target.work_dir
    folder.mkdir(parents=True)
    for name in ('epoch_1.pth', 'evaluation.json'):
        (folder / name).touch()
    assert reproduce.main(['--dry-run']) == 0 and not Recorded.made
    assert capsys.readouterr().out == 'left\nseed 0: gcl (done) -> crt\n1 to run\n'


def test_a_broken_record_is_not_kept(queued, monkeypatch, capsys):
    def leave_half_a_record(training):
        Recorded.at_first_poll(training)
        (training.folder / 'evaluation.json').write_text('{"name": "ce')
    broken = type('Broken', (Recorded,), dict(at_first_poll=leave_half_a_record))
    monkeypatch.setattr(reproduce, 'Training', broken)
    assert reproduce.main([]) == 1
    assert not queued.exists()
    assert 'no record kept' in capsys.readouterr().out


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_what_runs_and_the_ledger_is_written(queued, monkeypatch, capsys, number):
    asked = type('Asked', (Recorded,), dict(
        at_first_poll=lambda training: os.kill(os.getpid(), number)))
    monkeypatch.setattr(reproduce, 'Training', asked)
    assert reproduce.main([]) == 0
    assert Recorded.made[0].status == -15
    assert 'ledger written\n0 stages finished, 0 failed, 1 interrupted' in capsys.readouterr().out


def test_the_time_to_stop_leaves_a_minute_for_it(queued, monkeypatch):
    given = []
    monkeypatch.setattr(reproduce.Queue, 'run', lambda queue: given.append(queue.seconds))
    reproduce.main(['--hours', '0.5'])
    reproduce.main(['--hours', '0.01'])
    assert 1730 < given[0] <= 1740 and given[1] == 0


def test_a_training_is_a_process_that_ends_when_it_is_stopped(tmp_path):
    code = 'import os; print(os.environ["OMP_NUM_THREADS"], flush=True); input()'
    sleeper = 'import time; print(1, flush=True); time.sleep(60)'
    done = reproduce.Training([sys.executable, '-c', code], tmp_path / 'a' / 'x.log', threads=3)
    assert done.process.wait(30) == 1          # there is nothing to read for input()
    log = tmp_path / 'b.log'
    training = reproduce.Training([sys.executable, '-c', sleeper], log, threads=1)
    while not log.read_text():
        assert training.poll() is None
    training.stop()
    assert training.poll() == -15
    expected = os.environ.get('OMP_NUM_THREADS', '3')
    assert (tmp_path / 'a' / 'x.log').read_text().startswith(f'{expected}\n')


# -- what is carried ----------------------------------------------------------------------------

def archive(tmp_path):
    (tmp_path / 'train' / 'cat').mkdir(parents=True)
    (tmp_path / 'train' / 'cat' / '0000.jpg').write_bytes(b'an image')
    path = tmp_path / 'images.tar.gz'
    with tarfile.open(path, 'w:gz') as file:
        file.add(tmp_path / 'train', 'train')
    return path


def fetched(packages, python, folder):
    for package in packages:
        (folder / f"{package.replace('==', '-')}-py3-none-any.whl").write_bytes(b'wheel')


def test_what_is_carried_is_what_ltcls_needs_and_a_machine_with_torch_lacks():
    names = {package.split('==')[0] for package in pack.missing('3.12')}
    assert {'mmengine', 'addict', 'terminaltables', 'yapf'} <= names
    assert not names & {'torch', 'torchvision', 'numpy', 'timm', 'matplotlib', 'rich', 'tomli'}
    without = [name for name in pack.THERE if name != 'opencv-python']
    more = {package.split('==')[0] for package in pack.missing('3.12', without)}
    assert more - names == {'opencv-python-headless'}


def test_the_folder_unpacks_itself_where_it_is_carried_to(tmp_path):
    out = tmp_path / 'carry'
    files = pack.pack(out, dict(cifar10=archive(tmp_path)), '3.12', fetch=fetched)
    assert {path.name for path in files} > {'setup.sh', 'cifar10-images.tar.gz'}
    checkout = tmp_path / 'checkout'
    checkout.mkdir()
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "$@" > called\n')
    python.chmod(0o755)
    for _ in range(2):
        subprocess.run(['bash', str(out / 'setup.sh')], cwd=checkout, check=True,
                       env=dict(os.environ, PYTHON=str(python)))
    image = checkout / 'data' / 'cifar10' / 'train' / 'cat' / '0000.jpg'
    assert image.read_bytes() == b'an image'
    called = (checkout / 'called').read_text()
    assert '--no-index' in called and f'--target {out}/site' in called and 'mmengine' in called


def test_archives_of_one_name_do_not_replace_each_other(tmp_path):
    for name in ('a', 'b c'):
        (tmp_path / name).mkdir()
    archives = dict(cifar10=archive(tmp_path / 'a'), tiny100=archive(tmp_path / 'b c'))
    files = pack.pack(tmp_path / 'carry', archives, '3.12', fetch=fetched)
    assert {path.name for path in files} > {'cifar10-images.tar.gz', 'tiny100-images.tar.gz'}


def test_too_much_and_archives_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no archive .* for data/cifar10'):
        pack.pack(tmp_path / 'carry', dict(cifar10=tmp_path / 'no.tar'), '3.12', fetch=fetched)
    (tmp_path / 'a.tar').write_text('not one')
    with pytest.raises(ValueError, match='is no tar file'):
        pack.pack(tmp_path / 'carry', dict(cifar10=tmp_path / 'a.tar'), '3.12', fetch=fetched)
    with pytest.raises(ValueError, match=r'more than 0; the largest is \w+'):
        pack.pack(tmp_path / 'carry', dict(cifar10=archive(tmp_path)), '3.12', limit=100,
                  fetch=fetched)


def test_a_folder_of_other_things_is_not_made_anew(tmp_path):
    source = archive(tmp_path)
    with pytest.raises(ValueError, match='images.tar.gz lies in .* which is made anew'):
        pack.pack(tmp_path, dict(cifar10=source), '3.12', fetch=fetched)
    mine = tmp_path / 'mine'
    (mine / 'photos').mkdir(parents=True)
    with pytest.raises(ValueError, match='mine holds photos, which no pack has'):
        pack.pack(mine, dict(cifar10=source), '3.12', fetch=fetched)
    assert source.is_file() and (mine / 'photos').is_dir()
    for _ in range(2):
        pack.pack(tmp_path / 'carry', dict(cifar10=source), '3.12', fetch=fetched)


def test_a_machine_that_has_all_packages_is_carried_none(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, 'missing', lambda python, there: [])
    out = tmp_path / 'carry'
    pack.pack(out, dict(cifar10=archive(tmp_path)), '3.12', fetch=None)
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "$@" > called\n')
    python.chmod(0o755)
    subprocess.run(['bash', str(out / 'setup.sh')], cwd=tmp_path, check=True,
                   env=dict(os.environ, PYTHON=str(python)))
    assert not (tmp_path / 'called').exists()


def test_what_the_command_says_is_packed(tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(pack, 'pack', lambda *arguments: given.extend(arguments) or [])
    assert pack.main(['--data', 'cifar10=a.tar', '--out', str(tmp_path), '--python', '3.13',
                      '--there', 'torch', '--limit', '0.5']) == 0
    assert given == [tmp_path, dict(cifar10=Path('a.tar')), '3.13', ['torch'], 2 ** 19]
    assert pack.main(['--data', 'cifar10']) == 2
    assert '--data cifar10: use NAME=ARCHIVE' in capsys.readouterr().err


@pytest.mark.parametrize('gpu, instructions, precision', [
    (True, 'AVX512', 'float32'), (False, 'AVX512', 'bfloat16'), (False, 'AVX2', 'float32')])
def test_the_queue_takes_bfloat16_on_a_cpu_that_has_arithmetic_for_it(gpu, instructions, precision,
                                                                      monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: instructions)
    assert reproduce.default_precision() == precision


@pytest.mark.parametrize('arguments, message', [
    (['--parallel', '0'], "'0' must be a number from 1 on"),
    (['--only', '*mislas'], "'*mislas' is no regular expression: nothing to repeat")])
def test_a_bad_option_of_the_queue_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        reproduce.main(arguments)
    assert message in capsys.readouterr().err


def test_a_damaged_record_is_named_before_anything_runs(monkeypatch, capsys):
    def damaged():
        raise ValueError('records/x.json is no record: delete it.')

    monkeypatch.setattr(reproduce.ledger, 'read_runs', damaged)
    assert reproduce.main(['--dry-run']) == 2
    assert capsys.readouterr().err == 'error: records/x.json is no record: delete it.\n'
