"""Each patch of the config reader: first what mmengine does alone, then what ltcls makes of it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config import config as mm_config
from mmengine.config import utils as mm_utils

from ltcls import compat_config
from ltcls.engine.configs import find_config
from ltcls.engine.recipe import earlier_config

REPOSITORY = Path(__file__).resolve().parents[1]
IN_A_VENV = sys.prefix != sys.base_prefix


def stock(code: str) -> str:
    """The last line that mmengine without ltcls prints or raises."""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'})
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


@pytest.fixture
def importing_config(tmp_path) -> str:
    """A config with a base, where the child uses the standard library."""
    write(tmp_path, 'base.py', 'a = 1\n')
    return write(tmp_path, 'child.py', "import os.path as osp\n_base_ = './base.py'\n"
                                       "b = osp.join('x', 'y')\n")


@pytest.mark.xfail(not IN_A_VENV, reason='the fault shows only in a virtual environment')
def test_stock_mmengine_stumbles_over_the_standard_library(importing_config):
    said = stock(f'from mmengine.config import Config; Config.fromfile({importing_config!r})')
    assert 'inheritance chain' in said or said.startswith('RuntimeError')


def test_a_config_may_use_the_standard_library(importing_config):
    config = Config.fromfile(importing_config)
    assert (config.a, config.b) == (1, os.path.join('x', 'y'))


def test_third_party_code_is_still_told_from_the_standard_library():
    for module in (mm_utils, mm_config):
        for name in ('os.path', 'math', 'mmengine.config'):
            assert module._is_builtin_module(name)
        assert not module._is_builtin_module('torch')
        assert not module._is_builtin_module('.base')
        assert not module._is_builtin_module('no_such_package')


@pytest.mark.xfail(find_spec('pkg_resources') is not None, reason='setuptools still has it')
def test_stock_mmengine_needs_a_module_that_setuptools_dropped():
    said = stock('from mmengine.config import config; config.is_installed("mmengine")')
    assert 'pkg_resources' in said


def test_packages_are_found_without_pkg_resources():
    assert compat_config.is_installed('mmengine')
    assert not compat_config.is_installed('no_such_package')
    assert (Path(compat_config.get_installed_path('mmengine')) / '__init__.py').is_file()
    with pytest.raises(ModuleNotFoundError, match="no package 'no_such_package'"):
        compat_config.get_installed_path('no_such_package')


def test_a_config_can_read_a_base_by_absolute_import(tmp_path, monkeypatch):
    write(tmp_path, 'lt_somebody/__init__.py', '')
    write(tmp_path, 'lt_somebody/configs/base.py', 'a = 1\n')
    child = write(tmp_path, 'child.py', 'from mmengine.config import read_base\nwith read_base():\n'
                                        '    from lt_somebody.configs.base import *\nb = 2\n')
    monkeypatch.syspath_prepend(tmp_path)
    config = Config.fromfile(child)
    assert (config.a, config.b) == (1, 2)


def test_stock_mmengine_refuses_our_configs_as_a_base(tmp_path):
    child = write(tmp_path, 'child.py', "_base_ = 'ltcls::ce/ce_resnet20_digits.py'\n")
    said = stock(f'from mmengine.config import Config; Config.fromfile({child!r})')
    assert said == 'AssertionError: mmengine does not support to load ltcls config.'


def test_a_base_of_ours_reads_as_if_it_lay_beside_the_child(tmp_path):
    child = write(tmp_path, 'child.py', "_base_ = 'ltcls::ce/ce_resnet20_digits.py'\n"
                                        'train_cfg = dict(max_epochs=2)\n')
    config = Config.fromfile(child).to_dict()
    direct = Config.fromfile(REPOSITORY / 'configs' / 'ce' / 'ce_resnet20_digits.py').to_dict()
    assert config['train_cfg'].pop('max_epochs') == 2
    direct['train_cfg'].pop('max_epochs')
    assert config == direct                 # no scope marks, nothing lost


def test_one_of_several_bases_may_be_ours(tmp_path):
    write(tmp_path, 'mine.py', "mine = 'x'\n")
    child = write(tmp_path, 'child.py',
                  "_base_ = ['ltcls::_base_/default_runtime.py', './mine.py']\n")
    config = Config.fromfile(child)
    assert (config.default_scope, config.mine) == ('ltcls', 'x')


def test_a_base_of_ours_that_does_not_exist_is_named_with_the_file_that_asks(tmp_path):
    child = write(tmp_path, 'child.py', "_base_ = 'ltcls::ce/no_such.py'\n")
    with pytest.raises(FileNotFoundError, match="child.py: There is no config 'ltcls::ce/no_such"):
        Config.fromfile(child)


def test_patches_are_applied_once_and_not_where_nothing_is_broken():
    again = compat_config.apply_config_patches()
    assert '_is_builtin_module' not in again and '_get_cfg_path' not in again
    assert not compat_config.standard_library_is_misjudged()


def test_the_text_of_a_config_is_formatted_once():
    calls = []

    def stock(text, **options):
        calls.append(text)
        return text.upper(), True

    format_code = compat_config._remembering(stock)
    for text in ('a = 1', 'a = 1', 'b = 2', 'b = 2'):
        assert format_code(text, style_config={}) == (text.upper(), True)
    assert calls == ['a = 1', 'b = 2']
    config = Config(dict(model=dict(type='Classifier', head=dict(scale=30))))
    assert config.pretty_text == "model = dict(head=dict(scale=30), type='Classifier')\n"
    config.model.head.scale = 16
    assert 'scale=16' in config.pretty_text


# -- configs of other packages --------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / 'lt_shipping' / 'configs' / 'poly'
    folder.mkdir(parents=True)
    (tmp_path / 'lt_shipping' / '__init__.py').write_text('')
    write(folder, 'poly_resnet20_digits.py', "_base_ = 'ltcls::ce/ce_resnet20_digits.py'\n"
                                             "model = dict(loss=dict(type='FocalLoss'))\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize('name', ['poly/poly_resnet20_digits.py',
                                  'configs/poly/poly_resnet20_digits.py'])
def test_a_config_of_a_package_is_found_and_inherited(package, tmp_path, name):
    assert find_config(f'lt_shipping::{name}') == package / 'poly_resnet20_digits.py'
    child = write(tmp_path, 'child.py', f"_base_ = 'lt_shipping::{name}'\n")
    assert Config.fromfile(child).model.loss.type == 'FocalLoss'


@pytest.mark.parametrize(('name', 'said'), [
    ('lt_shipping::poly/no_such.py', "There is no config 'lt_shipping::poly/no_such.py'"),
    ('lt_shipping::../__init__.py', 'There is no config'),
    ('lt_absent::poly/mine.py', "There is no package 'lt_absent' with a folder configs"),
    ('numpy::poly/mine.py', "There is no package 'numpy' with a folder configs")])
def test_an_absent_config_of_a_package_is_named(package, tmp_path, name, said):
    with pytest.raises(FileNotFoundError, match=said):
        find_config(name)
    child = write(tmp_path, 'child.py', f"_base_ = '{name}'\n")
    with pytest.raises(FileNotFoundError, match=f'child.py: {said}'):
        Config.fromfile(child)


def test_a_stage_may_start_from_a_config_of_a_package(package):
    cfg = Config(dict(init_from=dict(config='lt_shipping::poly/poly_resnet20_digits.py')))
    assert earlier_config(Path('mine.py'), cfg) == package / 'poly_resnet20_digits.py'
