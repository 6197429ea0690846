"""Where mmengine's config reader needs help: standard library, installed packages, our configs.

`apply_config_patches()` is called once from ltcls.compat. Each patch is applied only if the fault
is there, so a repaired mmengine is left alone.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import config as mm_config
from mmengine.config import utils as mm_utils


def config_root() -> Path:
    """The folder of the shipped configs: in an installed wheel, an editable install or a checkout.

    Raises:
        FileNotFoundError: the package was taken apart, e.g. ltcls/ copied without configs/.
    """
    package = Path(__file__).resolve().parent
    # A wheel's first: beside an installed package `configs` may be somebody else's.
    for root in (package / '.mim' / 'configs', package.parent / 'configs'):
        if (root / '_base_').is_dir():
            return root
    raise FileNotFoundError(
        f'No configs beside {package}: install ltcls with pip, or use a whole checkout.')


def package_configs(package: str) -> Path:
    """The folder `configs` inside an importable package; `config_root()` for ltcls itself.

    Raises:
        FileNotFoundError: no such package, or none with that folder.
    """
    if package == 'ltcls':
        return config_root()
    found = is_installed(package) and Path(get_installed_path(package)) / 'configs'
    if not found or not found.is_dir():
        raise FileNotFoundError(f"There is no package '{package}' with a folder configs here: "
                                'install it, or correct the name.')
    return found


def packaged_config(name: str) -> Path:
    """The file for `package::folder/config.py`, with or without a leading `configs/`.

    Raises:
        FileNotFoundError: no such package, or no such config in it.
    """
    package, _, path = name.partition('::')
    root = package_configs(package)
    inside = root / path.replace('\\', '/').removeprefix('configs/')
    if '..' in inside.parts or not inside.is_file():
        raise FileNotFoundError(f"There is no config '{name}' ({inside}).")
    return inside


def apply_config_patches() -> list[str]:
    """Mend what is broken here and return the names of what was mended."""
    done = []
    if standard_library_is_misjudged():
        for module in (mm_utils, mm_config):
            module._is_builtin_module = _standard_library_first(module._is_builtin_module)
        done.append('_is_builtin_module')
    if find_spec('pkg_resources') is None:
        mm_config.is_installed = is_installed
        mm_config.get_installed_path = get_installed_path
        done.append('get_installed_path')
    mm_utils.MODULE2PACKAGE.setdefault('ltcls', 'ltcls')
    if not getattr(mm_config.FormatCode, 'remembers', False):
        mm_config.FormatCode = _remembering(mm_config.FormatCode)
        done.append('FormatCode')
    stock = mm_config.Config._get_cfg_path
    if not getattr(stock, 'knows_ltcls', False):
        mm_config.Config._get_cfg_path = staticmethod(_own_configs_first(stock))
        done.append('_get_cfg_path')
    return done


def standard_library_is_misjudged() -> bool:
    """Whether mmengine takes the standard library for third-party code: in a virtual environment.

    A config that imports from it is then read by the other of mmengine's two readers, which fails.
    """
    return not all(mm_utils._is_builtin_module(name) for name in ('os.path', 'math', 'typing'))


def _standard_library_first(stock):
    def _is_builtin_module(module_name: str) -> bool:
        return module_name.partition('.')[0] in sys.stdlib_module_names or stock(module_name)
    return _is_builtin_module


def is_installed(package: str) -> bool:
    """Whether a package of this name can be imported; mmengine's version needs pkg_resources."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def get_installed_path(package: str) -> str:
    """The folder of an importable package; mmengine's version needs pkg_resources.

    Raises:
        ModuleNotFoundError: no such package, or a namespace without a folder of its own.
    """
    if not is_installed(package):
        raise ModuleNotFoundError(
            f"There is no package '{package}' here: install it, or correct the name.")
    return str(Path(find_spec(package).origin).parent)


def _remembering(stock):
    """The formatter of a config's text, for which mmengine asks anew at every checkpoint."""
    formatted = {}

    def FormatCode(text: str, **options):
        key = text, repr(options)
        if key not in formatted:
            formatted.clear()       # the texts of earlier runs are not asked for again
            formatted[key] = stock(text, **options)
        return formatted[key]
    FormatCode.remembers = True
    return FormatCode


def _own_configs_first(stock):
    def _get_cfg_path(cfg_path: str, filename: str):
        """Path and scope of a base config. `ltcls::x/y.py` is x/y.py in the folder of our configs,
        and so for any package with a folder `configs`.

        mmengine would look through metafiles, and would mark every dict with a scope that our
        default_scope states already.
        """
        if '::' not in cfg_path:
            return stock(cfg_path, filename)
        try:
            return str(packaged_config(cfg_path)), None
        except FileNotFoundError as error:
            raise FileNotFoundError(f'{filename}: {error}') from None
    _get_cfg_path.knows_ltcls = True
    return _get_cfg_path
