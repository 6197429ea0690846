"""Who may import whom, read from the import statements of every file under ltcls/."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'ltcls'
BASE = {'registry', 'longtail'}
PARTS = {'datasets', 'samplers', 'losses', 'optim_wrappers', 'evaluation'}
LOW = {'registry', 'longtail', 'compat', 'compat_config', 'plugins'}
ENGINE = LOW | PARTS | {'models', 'hooks', 'engine'}
ALLOWED = {
    # The root package holds the version and applies the compatibility patches.
    '__init__': {'compat'},
    '__main__': {'cli'},
    'registry': {'plugins'},            # inside functions: the first look-up loads the plugins
    'longtail': set(),
    'compat': {'registry', 'compat_config'},
    'compat_config': {'registry'},
    'plugins': {'registry'},
    **{part: BASE for part in PARTS},
    'models': BASE | {'optim_wrappers'},
    'hooks': BASE,
    'engine': ENGINE,
    'analysis': ENGINE,
    'commands': ENGINE | {'analysis'},
    'cli': {'commands'},
}
FILES = sorted(PACKAGE.rglob('*.py'))


def first_part(path: Path) -> str:
    """datasets for ltcls/datasets/cifar.py, registry for ltcls/registry.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def parts_imported(source: str, path: Path) -> set[str]:
    """The parts of ltcls that a file's import statements name, also relative and nested ones."""
    found = set()
    package = ['ltcls', *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) - node.level + 1] if node.level else []
            module = [*above, *(node.module.split('.') if node.module else [])]
            # `from ltcls import x`: x is a part, or an attribute such as __version__.
            names = ['.'.join([*module, alias.name]) for alias in node.names]
        else:
            continue
        for parts in (name.split('.') for name in names):
            if parts[0] == 'ltcls' and len(parts) > 1 and not parts[1].startswith('__'):
                found.add(parts[1])
    return found


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_a_file_imports_only_the_parts_below_its_own(path):
    part = first_part(path)
    assert part in ALLOWED, f'{part} is new under ltcls/: say here what it may import'
    extra = parts_imported(path.read_text(encoding='utf-8'), path) - ALLOWED[part] - {part}
    assert not extra, f'{path.name} of {part} imports {sorted(extra)}'


@pytest.mark.parametrize(('source', 'file', 'expected'), [
    ('import ltcls.losses.gcl', 'models/x.py', {'losses'}),
    ('from ltcls import losses, __version__', 'models/x.py', {'losses'}),
    ('from ltcls.losses import GCLLoss', 'models/x.py', {'losses'}),
    ('def f():\n    from ..losses.gcl import GCLLoss', 'models/x.py', {'losses'}),
    ('from ...losses import GCLLoss', 'models/heads/x.py', {'losses'}),
    ('from .. import losses', 'models/x.py', {'losses'}),
    ('from .linear import LinearHead', 'models/heads/x.py', {'models'}),
    ('import torch\nfrom torch import nn', 'models/x.py', set()),
], ids=range(8))
def test_every_form_of_import_is_read(source, file, expected):
    assert parts_imported(source, PACKAGE / file) == expected


def test_the_two_modules_of_the_look_up_import_each_other_only_when_called():
    tree = ast.parse((PACKAGE / 'registry.py').read_text(encoding='utf-8'))
    at_the_top = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module]
    assert not [n.module for n in at_the_top if n.module.startswith('ltcls')]


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_heavy_packages_are_imported_where_they_are_used(path):
    """At the top of a file timm, scikit-learn and matplotlib would make every start-up long."""
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        heavy = {'timm', 'sklearn', 'matplotlib'} & {name.partition('.')[0] for name in names}
        assert not heavy, f'{path.name} imports {heavy} at its top'
