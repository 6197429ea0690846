"""Finding a config by path or by name."""

import difflib
from pathlib import Path

from ltcls.compat_config import config_root, packaged_config

__all__ = ['config_names', 'config_root', 'find_config']


def config_names() -> dict[str, Path]:
    """Every shipped config that can be run, by its name (the file name without .py)."""
    root = config_root()
    return {path.stem: path for path in sorted(root.glob('*/*.py')) if path.parent.name != '_base_'}


def find_config(name_or_path: str | Path) -> Path:
    """The config file for a path, a name such as 'gcl-crt_resnet32_cifar10', or 'ltcls::gcl/x.py'.

    A file that exists wins. A path below configs/ is found from any folder and in an installed
    package, with or without the leading `configs/`; 'my_package::x/y.py' is one of another package.

    Raises:
        FileNotFoundError: neither a file nor the name of a shipped config; names the nearest ones.
    """
    text = str(name_or_path)
    if Path(text).is_file():
        return Path(text)
    if '::' in text and not text.startswith('ltcls::'):
        return packaged_config(text)
    shipped = text.removeprefix('ltcls::').replace('\\', '/')
    inside = config_root() / shipped.removeprefix('configs/')
    if not Path(text).is_absolute() and '..' not in inside.parts and inside.is_file():
        return inside
    names = config_names()
    if text.removesuffix('.py') in names:
        return names[text.removesuffix('.py')]
    near = difflib.get_close_matches(Path(shipped).stem, names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ''
    raise FileNotFoundError(f"There is no config file or shipped config '{text}'.{hint} "
                            f'The shipped configs are in {config_root()}.')
