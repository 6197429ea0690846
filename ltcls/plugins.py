"""Methods of other packages: found by entry point, loaded one by one, kept apart when they fail.

A package declares an entry point in the group `ltcls.plugins`. Its value is a module that registers
its classes when imported, or `module:function`, a function called once without arguments:

    [options.entry_points]
    ltcls.plugins =
        my_method = my_package.my_method

The first look-up in any registry loads the core modules and then the plugins, in the order of their
names, so every process sees the same set. A plugin that fails leaves nothing behind and stops
no other.

Environment:
    LTCLS_DISABLE_PLUGINS   'all', or entry-point or distribution names separated by commas.
    LTCLS_PLUGINS_STRICT    1: a plugin that fails is an error and not a warning.
"""

import functools
import io
import logging
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module, metadata
from itertools import takewhile

from mmengine import registry as mmengine_registry
from mmengine.dist import get_rank
from mmengine.logging import MMLogger, print_log

from ltcls import registry as ltcls_registry

GROUP = 'ltcls.plugins'
OWN = ('ltcls', 'mmengine')
SHOWN = 2000     # characters of what a plugin prints while it is loaded
API = 1     # raised when a plugin written for the version before would no longer work


class PluginError(RuntimeError):
    """A plugin that could not be loaded."""


@dataclass
class Plugin:
    """One entry point and what became of it: 'loaded', 'failed', 'disabled', or 'loading'."""

    name: str
    value: str
    distribution: str
    version: str
    status: str = 'loading'
    error: str = ''
    components: tuple[tuple[str, str], ...] = ()     # (registry, registered name)

    @property
    def package(self) -> str:
        return f'{self.distribution} {self.version}'

    @property
    def module(self) -> str:
        return self.value.partition(':')[0].strip()


_plugins: dict[tuple[str, str], Plugin] = {}     # by entry-point name and distribution
_done = False


def register_all_modules() -> None:
    """Import the core modules, then every plugin; once a process, later calls return at once.

    Raises:
        PluginError: a plugin failed and LTCLS_PLUGINS_STRICT=1.
        Exception: whatever the import of a core module raises; the next call tries again.
    """
    global _done
    if _done:
        return
    _done = True                # before the imports: they may look something up themselves
    try:
        for name in ltcls_registry.CORE_MODULES:
            import_module(name)
        _load_plugins()
    except BaseException:
        _done = False
        raise


def plugin_states() -> list[Plugin]:
    """Every plugin that was found, in the order of loading, with its status and error."""
    register_all_modules()
    return list(_plugins.values())


def failure_hint() -> str:
    """A sentence to append to a failed look-up: the plugins that failed; '' if none did."""
    failed = [f'{plugin.name} ({plugin.package}): {plugin.error}'
              for plugin in _plugins.values() if plugin.status == 'failed']
    return f" Plugins that failed to load: {'; '.join(failed)}." if failed else ''


def component_table() -> list[tuple[str, str, str, str]]:
    """Every name a config can use, as rows (registry, name, module, package), sorted.

    The package is the one that registered the name: 'ltcls 0.1.0', a plugin's distribution and
    version, 'mmengine 0.10.7', or the distribution of a module that was imported by other means.
    """
    register_all_modules()
    rows = []
    for registry in ltcls_registry.REGISTRIES:
        seen, node = set(), registry
        while node is not None:
            node.import_from_location()
            for name, module in node._module_dict.items():
                if name not in seen:
                    seen.add(name)
                    rows.append((registry.name, name, getattr(module, '__module__', '?'),
                                 _registered_by(node.name, name, module)))
            node = node.parent
    return sorted(rows)


def package_of(component) -> str:
    """Distribution and version of the package a class or function was written in."""
    module, top = getattr(component, '__module__', None) or '', _top(component)
    if top == 'ltcls':
        from ltcls import __version__
        return f'ltcls {__version__}'
    def closeness(plugin):
        return _shared(plugin.module, module)

    nearest = max(_plugins.values(), key=closeness, default=None)
    if nearest is not None and closeness(nearest):
        return nearest.package
    return _package_of_top(top)


@functools.lru_cache(maxsize=None)
def _package_of_top(top: str) -> str:
    """Slow: reads the metadata of everything that is installed."""
    for distribution in metadata.packages_distributions().get(top, ()):
        return f'{distribution} {metadata.version(distribution)}'
    return 'no installed package'


def _registered_by(registry: str, name: str, component) -> str:
    for plugin in _plugins.values():
        if (registry, name) in plugin.components:
            return plugin.package
    return package_of(component)


def _shared(one: str, other: str) -> int:
    """How many leading parts two dotted names have in common."""
    same = (a == b for a, b in zip(one.split('.'), other.split('.')))
    return len(list(takewhile(bool, same)))


def _load_plugins() -> None:
    points = sorted(metadata.entry_points(group=GROUP), key=lambda p: (p.name, _distribution(p)[0]))
    listed = re.split(r'[,\s]+', os.environ.get('LTCLS_DISABLE_PLUGINS', '').strip())
    disabled = {_normal(name) for name in listed if name}
    known = {'all'}
    for point in points:
        distribution, version = _distribution(point)
        plugin = Plugin(point.name, point.value, distribution, version)
        names = {_normal(point.name), _normal(distribution)}
        known |= names
        earlier = _plugins.get((plugin.name, distribution))
        if earlier is not None and earlier.status == 'loaded':
            continue            # a strict run that failed further on is tried again
        _plugins[plugin.name, distribution] = plugin
        if disabled & (names | {'all'}):
            plugin.status = 'disabled'
        else:
            _load(plugin, point)
    if disabled - known:
        installed = ', '.join(sorted(point.name for point in points)) or 'none'
        _warn(f"LTCLS_DISABLE_PLUGINS names {', '.join(sorted(disabled - known))}, but no such "
              f'plugin is installed; installed: {installed}.')


def _load(plugin: Plugin, point) -> None:
    """Run one plugin; if it fails, put the registries and `sys.modules` back as they were."""
    tables = {r: (dict(r._module_dict), dict(r._children)) for r in _all_registries()}
    modules, output = set(sys.modules), _Output(plugin.name)
    try:
        with redirect_stdout(output), redirect_stderr(output):
            module = import_module(plugin.module)
            _check_api(plugin, module)
            if point.attr:
                point.load()()
        plugin.components = _added_names(tables)
    except (Exception, SystemExit) as error:
        _undo(plugin, tables, modules)
        plugin.status = 'failed'
        plugin.error = _one_line(error)
        message = (f"Plugin '{plugin.name}' of {plugin.package} (entry point {plugin.value}) was "
                   f'not loaded: {plugin.error}. Its components are missing, all others work. '
                   f'LTCLS_DISABLE_PLUGINS={plugin.name} switches it off.')
        if os.environ.get('LTCLS_PLUGINS_STRICT', '0') not in ('', '0'):
            raise PluginError(message) from error
        _warn(message)
    else:
        plugin.status = 'loaded'
        _check_requirement(plugin, point)


class _Output(io.TextIOBase):
    """Passes the first `SHOWN` characters on to stderr: what follows may be endless, and what ltcls
    itself prints may be read by a program."""

    def __init__(self, name: str):
        self.name, self.left, self.stderr = name, SHOWN, sys.stderr

    def write(self, text: str) -> int:
        if self.left > 0:
            self.stderr.write(text[:self.left])
            if len(text) > self.left:
                self.stderr.write(f'... (more output of plugin {self.name} is not shown)\n')
            self.left -= len(text)
        return len(text)

    def flush(self) -> None:
        self.stderr.flush()


def _undo(plugin: Plugin, tables: dict, modules: set[str]) -> None:
    """Take back what a failed plugin registered and imported.

    Its half-imported modules go too: they would make a later import succeed without registering
    anything. Modules of other packages stay, and so must what ltcls and mmengine registered when
    the plugin happened to be the first to import them.
    """
    top = plugin.module.partition('.')[0]
    for name in set(sys.modules) - modules:
        if name.partition('.')[0] == top and top not in OWN:
            del sys.modules[name]
    for registry, (before, children) in tables.items():
        own = {name: component for name, component in registry._module_dict.items()
               if name not in before and _top(component) in OWN}
        _refill(registry._module_dict, {**before, **own})
        kept = {scope: child for scope, child in registry._children.items() if scope in sys.modules}
        _refill(registry._children, {**kept, **children})


def _refill(table: dict, content: dict) -> None:
    table.clear()
    table.update(content)


def _top(component) -> str:
    return (getattr(component, '__module__', None) or '').partition('.')[0]


def _all_registries() -> list:
    roots = [root for root in vars(mmengine_registry).values()
             if isinstance(root, mmengine_registry.Registry)]
    for root in roots:
        root.import_from_location()     # or a plugin would seem to add what mmengine adds late
    return [*ltcls_registry.REGISTRIES, *roots]


def _added_names(tables: dict) -> tuple[tuple[str, str], ...]:
    """The names a plugin added. KeyError if it replaced or hid one that was there before."""
    added = []
    for registry, (before, _) in tables.items():
        now = registry._module_dict
        for name in [*now, *(set(before) - set(now))]:
            owner = before.get(name)
            if name not in before:
                if _top(now[name]) not in OWN:
                    added.append((registry.name, name))
                node = registry.parent
                while node is not None and owner is None:
                    owner = tables[node][0].get(name) if node in tables else None
                    node = node.parent
            if owner is not None and now.get(name) is not owner:
                new = now.get(name)
                by = f' by {_named(new)}' if new is not None else ''
                raise KeyError(f"'{name}' in {registry.name} belongs to {_named(owner)} and was "
                               f'replaced{by}. Rename the component of the plugin')
    return tuple(added)


def _named(component) -> str:
    return f'{ltcls_registry.origin(component)} ({package_of(component)})'


def _check_api(plugin: Plugin, module) -> None:
    top = sys.modules.get(plugin.module.partition('.')[0])
    for holder in (module, top):
        wanted = getattr(holder, 'LTCLS_PLUGIN_API', API)
        if wanted != API:
            older = 'the plugin' if wanted < API else 'ltcls'
            raise PluginError(f'it is written for plugin interface {wanted}, this ltcls has {API}; '
                              f'{older} is older: update it')


def _check_requirement(plugin: Plugin, point) -> None:
    """Warn if the plugin's package asks for another version of ltcls than this one."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return                  # pip enforces the requirement too; this is the second look
    from ltcls import __version__
    for text in (point.dist.requires if point.dist is not None else None) or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        wanted = requirement.marker is None or requirement.marker.evaluate({'extra': ''})
        if (_normal(requirement.name) == 'ltcls' and wanted
                and not requirement.specifier.contains(__version__, prereleases=True)):
            _warn(f"Plugin '{plugin.name}' of {plugin.package} asks for {text}, this is ltcls "
                  f'{__version__}: it was loaded, but may not work.')


def _distribution(point) -> tuple[str, str]:
    if point.dist is None:
        return 'unknown', '?'
    return point.dist.metadata['Name'] or 'unknown', point.dist.version or '?'


def _normal(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def _one_line(error: BaseException) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return f"{type(error).__name__}: {' '.join(str(text).split())}".rstrip(': .')


def _warn(message: str) -> None:
    """Into the log of the run if there is one, else to stderr; on rank 0 only."""
    if get_rank() or int(os.environ.get('RANK', 0)):
        return
    if MMLogger._instance_dict:
        print_log(message, logger='current', level=logging.WARNING)
    else:
        logging.getLogger(__name__).warning(message)
