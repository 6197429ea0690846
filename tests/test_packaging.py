"""What pip gets: a wheel built offline, with the configs inside."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = ('ltcls', 'configs', 'requirements', 'setup.cfg', 'setup.py', 'pyproject.toml', 'LICENSE',
           'MANIFEST.in')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """A wheel of a copy of the sources, so that no build folder is left in the checkout."""
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, source / name,
                            ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copyfile(REPOSITORY / name, source / name)
    (source / 'README.md').write_text('# ltcls\n')
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-index',
         '--no-build-isolation', '--wheel-dir', str(target), str(source)],
        check=True, capture_output=True, text=True)
    return next(target.glob('ltcls-*.whl'))


@pytest.fixture(scope='module')
def unpacked(wheel, tmp_path_factory) -> Path:
    site = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(code: str, site: Path, folder: Path) -> str:
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=300,
                          cwd=folder, env={**os.environ, 'PYTHONPATH': str(site)})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_wheel_holds_every_module_and_every_config_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if '.dist-info/' not in name}
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / 'ltcls').rglob('*.py')}
    configs = {f'ltcls/.mim/{path.relative_to(REPOSITORY)}'
               for path in (REPOSITORY / 'configs').rglob('*')
               if path.suffix in ('.py', '.md', '.yml') and '__pycache__' not in path.parts}
    assert names == modules | configs


def test_an_installed_wheel_finds_its_configs_by_name_and_as_a_base(unpacked, tmp_path):
    (tmp_path / 'child.py').write_text("_base_ = 'ltcls::ce/ce_resnet20_digits.py'\n")
    (tmp_path / 'configs').mkdir()          # somebody else's
    code = ('import ltcls; from mmengine.config import Config\n'
            'from ltcls.engine.configs import find_config\n'
            "path = find_config('gcl-crt_resnet20_digits')\n"
            "base = Config.fromfile(path).init_from.config\n"
            "print(path, base, Config.fromfile('child.py').model.type)")
    path, base, model = run(code, unpacked, tmp_path).split()
    folder = unpacked / 'ltcls' / '.mim' / 'configs'
    assert Path(path) == folder / 'gcl' / 'gcl-crt_resnet20_digits.py'
    assert (base, model) == ('gcl_resnet20_digits.py', 'Classifier')


def test_the_metadata_states_licence_python_requirements_extras_and_command(unpacked):
    distribution = next(iter(metadata.distributions(path=[str(unpacked)])))
    about = distribution.metadata
    assert (about['Name'], about['Version']) == ('ltcls', '0.1.0')
    assert about['Requires-Python'] == '>=3.10'
    assert 'Apache-2.0' in (about['License-Expression'] or about['License'])
    assert set(about.get_all('Provides-Extra')) == {'optional', 'tests'}
    needed = {text for text in distribution.requires if 'extra ==' not in text}
    runtime = (REPOSITORY / 'requirements' / 'runtime.txt').read_text().split()
    assert needed == set(runtime)
    scripts = {point.name: point.value for point in distribution.entry_points}
    assert scripts == {'ltcls': 'ltcls.cli:main'}


def test_the_requirements_cover_every_package_that_is_imported():
    imported = set()
    for path in (REPOSITORY / 'ltcls').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition('.')[0])
    imported -= set(sys.stdlib_module_names) | {'ltcls'}
    packages = {'sklearn': 'scikit-learn', 'PIL': 'pillow'}
    runtime = {line.partition('>')[0] for line in
               (REPOSITORY / 'requirements' / 'runtime.txt').read_text().split()}
    # packaging is asked for politely: without it one warning is not given. OpenCV is optional.
    optional = {'packaging', 'cv2'}
    assert {packages.get(name, name) for name in imported} - optional <= runtime
