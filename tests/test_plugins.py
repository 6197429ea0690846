"""Plugins: tiny packages with a hand-written *.dist-info, each test in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLE = REPOSITORY / 'tests' / 'plugin_example'
EXAMPLE_NAMES = {
    ('losses', 'Poly1Loss'), ('samplers', 'PowerSampler'), ('hooks', 'ClassifierNormHook'),
    ('optim_wrappers', 'CentralizedOptimWrapper'), ('models', 'TinyConvNet'),
}

GOOD = '''
from ltcls.registry import LOSSES
def register():
    LOSSES.register_module(module=GoodLoss)
class GoodLoss:
    pass
'''
BROKEN = '''
from mmengine.registry import HOOKS as ROOT_HOOKS
from ltcls.registry import LOSSES, Registry
from . import part
@LOSSES.register_module()
class HalfLoss:
    pass
@ROOT_HOOKS.register_module()
class HalfHook:
    pass
CHILD = Registry('losses', parent=LOSSES, scope='lt_broken')
import a_package_that_is_missing
'''
CLASHING = '''
from ltcls.registry import LOSSES
@LOSSES.register_module()
class NewLoss:
    pass
@LOSSES.register_module()
class FocalLoss:
    pass
'''
REPLACING = CLASHING.replace("@LOSSES.register_module()\nclass FocalLoss",
                             "@LOSSES.register_module(force=True)\nclass FocalLoss")
HIDING = '''
from ltcls.registry import HOOKS
@HOOKS.register_module()
class EMAHook:
    pass
'''
TOO_OLD = '''
LTCLS_PLUGIN_API = 0
from ltcls.registry import LOSSES
@LOSSES.register_module()
class OldLoss:
    pass
'''
LOUD = '''
import sys
print('loud: hello')
sys.stderr.write('x' * 10 ** 6)
print('loud: unheard')
''' + GOOD
REPORT = '''
import json, sys
from ltcls import plugins
from ltcls.registry import LOSSES, HOOKS, MODELS
from mmengine.registry import HOOKS as ROOT_HOOKS
found = {name: LOSSES.get(name) is not None
         for name in ('FocalLoss', 'GoodLoss', 'HalfLoss', 'NewLoss', 'OldLoss')}
table = plugins.component_table()
print(json.dumps(dict(
    found=found,
    states={p.name: (p.status, p.error, p.package) for p in plugins.plugin_states()},
    focal=LOSSES.get('FocalLoss').__module__,
    ema=HOOKS.get('EMAHook').__module__,
    half_hook='HalfHook' in ROOT_HOOKS._module_dict,
    children=sorted(LOSSES._children),
    modules=sorted(m for m in sys.modules if m.startswith('lt_')),
    hint=plugins.failure_hint(),
    suggestion=LOSSES.suggest('GoodLos'),
    order=[p.name for p in plugins.plugin_states()],
    table=[row for row in table if row[3].startswith('lt-')],
    packages=sorted({row[3].partition(' ')[0] for row in table}),
    rows=len(table))))
'''


def write_plugin(folder: Path, name: str, source: str, version: str = '1.0', function: str = '',
                 requires: str = '') -> None:
    package = f'lt_{name}'
    (folder / package).mkdir(parents=True)
    (folder / package / '__init__.py').write_text(source)
    (folder / package / 'part.py').write_text('')
    info = folder / f'{package}-{version}.dist-info'
    info.mkdir()
    requirement = f'Requires-Dist: {requires}\n' if requires else ''
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: lt-{name}\nVersion: {version}\n{requirement}')
    value = package + (f':{function}' if function else '')
    (info / 'entry_points.txt').write_text(f'[ltcls.plugins]\n{name} = {value}\n')


def run(code: str | list[str], *paths: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a text of Python, or a script with its arguments, with `paths` ahead of ltcls."""
    command = ['-c', code] if isinstance(code, str) else code
    clean = {k: v for k, v in os.environ.items() if not k.startswith('LTCLS_') and k != 'RANK'}
    path = os.pathsep.join(str(p) for p in (*paths, REPOSITORY))
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300,
                          env={**clean, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', **environment})


def report(*paths: Path, **environment: str) -> dict:
    done = run(REPORT, *paths, **environment)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), 'stderr': done.stderr}


@pytest.fixture(scope='module')
def four(tmp_path_factory) -> Path:
    """A folder with one plugin of each kind."""
    folder = tmp_path_factory.mktemp('plugins')
    write_plugin(folder, 'good', GOOD, version='2.1', function='register')
    write_plugin(folder, 'broken', BROKEN)
    write_plugin(folder, 'clashing', CLASHING, version='3.4')
    write_plugin(folder, 'old', TOO_OLD)
    return folder


@pytest.fixture(scope='module')
def seen(four) -> dict:
    return report(four)


def test_a_good_plugin_is_usable_beside_broken_ones(seen):
    assert [name for name, found in seen['found'].items() if found] == ['FocalLoss', 'GoodLoss']
    assert {name: state[0] for name, state in seen['states'].items()} == dict(
        broken='failed', clashing='failed', good='loaded', old='failed')


def test_a_broken_plugin_leaves_nothing_behind(seen):
    assert seen['half_hook'] is False
    assert seen['children'] == []
    assert seen['modules'] == ['lt_good']


def test_each_failure_is_one_warning_with_name_package_value_cause_and_remedy(seen):
    lines = [line for line in seen['stderr'].splitlines() if 'Plugin ' in line]
    assert len(lines) == 3
    broken = next(line for line in lines if 'broken' in line)
    for part in ("'broken'", 'lt-broken 1.0', 'entry point lt_broken',
                 "ModuleNotFoundError: No module named 'a_package_that_is_missing'",
                 'LTCLS_DISABLE_PLUGINS=broken'):
        assert part in broken


def test_a_name_registered_twice_names_both_origins(seen):
    status, error, package = seen['states']['clashing']
    for part in ("'FocalLoss'", 'ltcls.losses.focal.FocalLoss (ltcls 0.1.0)',
                 'lt_clashing.FocalLoss (lt-clashing 3.4)'):
        assert part in error
    assert seen['focal'] == 'ltcls.losses.focal'


def test_a_plugin_for_another_interface_says_which_side_is_older(seen):
    error = seen['states']['old'][1]
    assert 'plugin interface 0, this ltcls has 1; the plugin is older' in error


def test_a_failed_look_up_mentions_the_failed_plugins(seen):
    assert 'broken (lt-broken 1.0)' in seen['hint']
    assert 'Did you mean GoodLoss?' in seen['suggestion']
    assert seen['suggestion'].endswith(seen['hint'])


def test_what_a_plugin_prints_stays_out_of_the_output_and_ends(tmp_path):
    write_plugin(tmp_path, 'loud', LOUD, function='register')
    done = run('import ltcls.plugins as p; print(p.plugin_states()[0].status)', tmp_path)
    assert done.stdout == 'loaded\n'
    assert done.stderr.startswith('loud: hello\nxxx') and len(done.stderr) < 2200
    assert done.stderr.endswith('... (more output of plugin loud is not shown)\n')


def test_the_listing_names_the_package_of_every_component(seen):
    assert seen['table'] == [['losses', 'GoodLoss', 'lt_good', 'lt-good 2.1']]
    assert {'ltcls', 'mmengine', 'lt-good'} <= set(seen['packages'])


def test_every_rank_loads_the_same_set_in_the_same_order_and_the_first_one_speaks(four, seen):
    second = report(four, PYTHONHASHSEED='7', RANK='1')
    assert seen['order'] == sorted(seen['order'])
    for what in ('order', 'states', 'rows'):
        assert second[what] == seen[what]
    assert 'Plugin' in seen['stderr'] and 'Plugin' not in second['stderr']


@pytest.mark.parametrize(('disabled', 'left'), [
    ('all,gcl', []), ('broken, lt-clashing,LT_old', ['good'])])
def test_plugins_are_switched_off_by_entry_point_or_distribution(four, disabled, left):
    seen = report(four, LTCLS_DISABLE_PLUGINS=disabled)
    assert [name for name, state in seen['states'].items() if state[0] == 'loaded'] == left
    assert {state[0] for state in seen['states'].values()} <= {'disabled', 'loaded'}
    assert 'Plugin' not in seen['stderr'] and seen['hint'] == ''
    # A name that no plugin has is more likely a typing error than an intention.
    assert ('LTCLS_DISABLE_PLUGINS names gcl,' in seen['stderr']) == ('gcl' in disabled)


def test_strict_makes_the_first_failure_an_error(four):
    done = run(REPORT, four, LTCLS_PLUGINS_STRICT='1')
    assert done.returncode != 0
    assert "PluginError: Plugin 'broken' of lt-broken 1.0" in done.stderr


@pytest.mark.parametrize(('source', 'owner', 'newcomer'), [
    (REPLACING, 'ltcls.losses.focal.FocalLoss (ltcls 0.1.0)', 'lt_taker.FocalLoss (lt-taker 1.0)'),
    (HIDING, 'mmengine.hooks.ema_hook.EMAHook', 'lt_taker.EMAHook (lt-taker 1.0)'),
], ids=['force', 'hiding a name of mmengine'])
def test_taking_a_name_over_fails_the_plugin_as_a_whole(tmp_path, source, owner, newcomer):
    write_plugin(tmp_path, 'taker', source)
    seen = report(tmp_path)
    status, error, _ = seen['states']['taker']
    assert status == 'failed' and owner in error and newcomer in error
    assert seen['focal'] == 'ltcls.losses.focal' and seen['ema'] == 'mmengine.hooks.ema_hook'
    assert not seen['found']['NewLoss'] and seen['table'] == []


def test_of_two_plugins_with_one_name_the_first_by_name_keeps_it(tmp_path):
    write_plugin(tmp_path, 'b_second', GOOD, function='register')
    write_plugin(tmp_path, 'a_first', GOOD, version='1.5', function='register')
    seen = report(tmp_path)
    assert seen['table'] == [['losses', 'GoodLoss', 'lt_a_first', 'lt-a_first 1.5']]
    error = seen['states']['b_second'][1]
    assert 'lt_a_first.GoodLoss (lt-a_first 1.5)' in error
    assert 'lt_b_second.GoodLoss (lt-b_second 1.0)' in error


def test_a_plugin_that_exits_does_not_end_the_process(tmp_path):
    write_plugin(tmp_path, 'quitter', 'raise SystemExit("no licence")')
    assert report(tmp_path)['states']['quitter'][:2] == ['failed', 'SystemExit: no licence']


def test_what_ltcls_and_mmengine_registered_meanwhile_survives_a_failure(tmp_path):
    """The plugin is the first to import a module that registers; the module is not loaded again."""
    source = '''
from mmengine.registry import HOOKS
class Late:
    pass
Late.__module__ = 'mmengine.hooks.late'
HOOKS.register_module(module=Late)
raise RuntimeError('then it breaks')
'''
    write_plugin(tmp_path, 'breaker', source)
    code = "from ltcls.registry import HOOKS; print(HOOKS.get('Late').__module__)"
    assert run(code, tmp_path).stdout.split()[-1] == 'mmengine.hooks.late'


def test_a_plugin_that_asks_for_another_ltcls_is_loaded_with_a_warning(tmp_path):
    write_plugin(tmp_path, 'picky', GOOD, function='register', requires='ltcls>=7')
    seen = report(tmp_path)
    assert seen['states']['picky'][0] == 'loaded'
    assert "Plugin 'picky' of lt-picky 1.0 asks for ltcls>=7, this is ltcls 0.1.0" in seen['stderr']


def test_importing_ltcls_alone_loads_no_plugin(four):
    done = run("import sys, ltcls, ltcls.registry; print('lt_good' in sys.modules)", four)
    assert done.stdout.split()[-1] == 'False' and 'Plugin' not in done.stderr


# The example package, installed for real.

@pytest.fixture(scope='module')
def installed(tmp_path_factory) -> Path:
    """The example plugin, built and installed by pip into a folder of its own, without network."""
    source = tmp_path_factory.mktemp('source') / 'plugin_example'
    made = shutil.ignore_patterns('__pycache__', 'build', '*.egg-info')
    shutil.copytree(EXAMPLE, source, ignore=made)
    target = tmp_path_factory.mktemp('site')
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index',
         '--no-build-isolation', '--target', str(target), str(source)],
        check=True, capture_output=True, text=True)
    return target


def test_an_installed_plugin_is_found_and_listed_with_its_distribution(installed):
    code = '''
import json
from ltcls import plugins
print(json.dumps([row for row in plugins.component_table() if row[2].startswith('ltcls_example')]))
'''
    done = run(code, installed)
    rows = json.loads(done.stdout.splitlines()[-1])
    assert {(registry, name) for registry, name, _, _ in rows} == EXAMPLE_NAMES, done.stderr
    assert {package for *_, package in rows} == {'ltcls-example-plugin 0.3.0'}


def test_its_components_compute_what_their_papers_say(installed):
    code = '''
import math, torch
from ltcls.registry import LOSSES, MODELS, OPTIM_WRAPPERS, SAMPLERS
from mmengine.optim import OptimWrapper
from torch.testing import assert_close

# Two equal logits: p = 1/2, so log 2 + 3 * 1/2.
loss = LOSSES.build(dict(type='Poly1Loss', epsilon=3.0))
assert_close(loss(torch.zeros(1, 2), torch.tensor([1])), torch.tensor([math.log(2) + 1.5]))

# Counts 16 and 4, power 1/2: 4 to 2.
sampler = SAMPLERS.get('PowerSampler').__new__(SAMPLERS.get('PowerSampler'))
sampler.power = 0.5
probabilities = sampler.class_probabilities(torch.tensor([16., 4.]))
assert_close(probabilities, torch.tensor([2, 1]).double() / 3)

# Gradient [[1, 3]] of a row becomes [[-1, 1]]; a bias keeps its own.
weight, bias = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, requires_grad=True)
wrapper = OPTIM_WRAPPERS.build(dict(type='CentralizedOptimWrapper',
                                    optimizer=torch.optim.SGD([weight, bias], lr=1.0)))
wrapper.update_params((weight * torch.tensor([1., 3.])).sum() + 5 * bias.sum())
assert_close(weight.detach(), torch.tensor([[1., -1.]]))
assert_close(bias.detach(), torch.tensor([-5.]))

net = MODELS.build(dict(type='TinyConvNet', width=4))
assert net(torch.randn(2, 3, 8, 8)).shape == (2, net.num_features) == (2, 16)

from ltcls_example_plugin.hook import norm_ratio
head = torch.nn.Linear(2, 2)
head.weight.data = torch.tensor([[3., 4.], [0., 2.]])
assert norm_ratio(head) == 2.5
print('right')
'''
    done = run(code, installed)
    assert done.stdout.split()[-1:] == ['right'], done.stderr


def test_a_model_trains_with_all_five_components(installed, tmp_path):
    config = tmp_path / 'plugin_tiny_digits.py'
    config.write_text('''
_base_ = 'ltcls::ce/ce_resnet20_digits.py'

model = dict(
    backbone=dict(_delete_=True, type='TinyConvNet', in_channels=1),
    loss=dict(type='Poly1Loss', epsilon=1.0))
train_dataloader = dict(sampler=dict(type='PowerSampler', power=0.5))
optim_wrapper = dict(type='CentralizedOptimWrapper')
custom_hooks = [dict(type='ClassifierNormHook')]
param_scheduler = []
train_cfg = dict(max_epochs=2)
''')
    work_dir = tmp_path / 'run'
    train = REPOSITORY / 'tools' / 'train.py'
    done = run([str(train), str(config), '--work-dir', str(work_dir)], installed,
               LTCLS_PLUGINS_STRICT='1')
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    log = ''.join(p.read_text() for p in work_dir.rglob('*.log'))
    assert log.count('Largest class vector over smallest') == 2
    assert list(work_dir.rglob('epoch_2.pth'))
    record = json.loads(next(work_dir.rglob('evaluation.json')).read_text())
    assert record['epoch'] == 2 and record['overall']['accuracy'] > 20      # chance is 10
