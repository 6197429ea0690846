"""`ltcls list`."""

import argparse

HELP = 'the registered components, or the shipped configs'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `ltcls list` takes."""
    command.add_argument('what', nargs='?', default=None,
                         help="a registry (models, losses, ...), 'configs' or 'plugins'")


def run(options: argparse.Namespace) -> None:
    """Print one table."""
    from terminaltables import AsciiTable

    from ltcls.engine.configs import config_names
    from ltcls.plugins import component_table, plugin_states
    what = options.what
    if what == 'configs':
        rows = [('config', 'file'),
                *((name, '/'.join(path.parts[-2:])) for name, path in config_names().items())]
    elif what == 'plugins':
        rows = [('plugin', 'package', 'status', 'error'),
                *((p.name, p.package, p.status, p.error) for p in plugin_states())]
    else:
        found = [row for row in component_table() if what is None or row[0] == what]
        if not found:
            known = sorted({row[0] for row in component_table()})
            raise ValueError(f"There is no registry '{what}'; there are {', '.join(known)}, and "
                             "'configs' and 'plugins'.")
        if what is None:
            found = [row for row in found if not row[3].startswith('mmengine')]
        rows = [('registry', 'name', 'module', 'package'), *found]
    print(AsciiTable(rows).table)
