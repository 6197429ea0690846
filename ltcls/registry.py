"""The registries of ltcls: a config's `type='Name'` is looked up here.

All are children of mmengine's registries of the same kind, so mmengine's own components (hooks,
schedulers, optimizers) stay available by name. LOSSES has no parent: mmengine has no such registry.
"""

import difflib

from mmengine import registry as mmengine_registry

CORE_MODULES = (
    'ltcls.datasets',
    'ltcls.samplers',
    'ltcls.losses',
    'ltcls.optim_wrappers',
    'ltcls.models',
    'ltcls.hooks',
    'ltcls.evaluation',
)


class Registry(mmengine_registry.Registry):
    """mmengine's registry, with names that cannot be taken twice and help for those that are unknown."""

    def import_from_location(self) -> None:
        """Import the core modules and then the plugins, before the first look-up."""
        from ltcls.plugins import register_all_modules
        register_all_modules()

    def _register_module(self, module, module_name=None, force=False) -> None:
        names = [module_name] if isinstance(module_name, str) else module_name
        for name in names or [module.__name__]:
            owner = self._module_dict.get(name)
            # A module that is imported again after a failed import registers the same object anew.
            same = owner is not None and origin(owner) == origin(module)
            if owner is not None and not same and not force:
                from ltcls.plugins import package_of
                raise KeyError(
                    f"'{name}' is registered twice in {self.name}: by {origin(owner)} "
                    f'({package_of(owner)}) and by {origin(module)} ({package_of(module)}). '
                    'Rename one of them.')
            if '.' in name:
                raise KeyError(f"'{name}' in {self.name}: a registered name cannot hold a dot.")
        super()._register_module(module, module_name, force=True)

    def names(self) -> list[str]:
        """Every name that a look-up from here finds, those of the parents included."""
        found, node = set(), self
        while node is not None:
            node.import_from_location()
            found.update(node._module_dict)
            node = node.parent
        return sorted(found)

    def suggest(self, name: str) -> str:
        """The message for a name that is not registered: the nearest names, and failed plugins."""
        from ltcls.plugins import failure_hint
        near = difflib.get_close_matches(name, self.names(), n=3, cutoff=0.6)
        hint = f" Did you mean {' or '.join(near)}?" if near else ''
        return (f"'{name}' is not in the {self.name} registry.{hint} "
                f'`ltcls list {self.name}` shows every name.{failure_hint()}')


def origin(module) -> str:
    """Module and qualified name of a registered class or function."""
    return f"{getattr(module, '__module__', '?')}.{getattr(module, '__qualname__', module)}"


def _child(name: str, parent) -> Registry:
    return Registry(name, parent=parent, scope='ltcls', locations=list(CORE_MODULES))


MODELS = _child('models', mmengine_registry.MODELS)
LOSSES = _child('losses', None)
OPTIM_WRAPPERS = _child('optim_wrappers', mmengine_registry.OPTIM_WRAPPERS)
HOOKS = _child('hooks', mmengine_registry.HOOKS)
SAMPLERS = _child('samplers', mmengine_registry.DATA_SAMPLERS)
DATASETS = _child('datasets', mmengine_registry.DATASETS)
TRANSFORMS = _child('transforms', mmengine_registry.TRANSFORMS)
METRICS = _child('metrics', mmengine_registry.METRICS)
MODEL_WRAPPERS = _child('model_wrappers', mmengine_registry.MODEL_WRAPPERS)
FUNCTIONS = _child('functions', mmengine_registry.FUNCTIONS)
# ltcls adds nothing of its own to these; without a child of the scope mmengine warns at each look-up.
PLAIN_CHILDREN = tuple(_child(parent.name, parent) for parent in (
    mmengine_registry.EVALUATOR, mmengine_registry.LOG_PROCESSORS, mmengine_registry.LOOPS,
    mmengine_registry.OPTIMIZERS, mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS,
    mmengine_registry.PARAM_SCHEDULERS, mmengine_registry.RUNNERS,
    mmengine_registry.RUNNER_CONSTRUCTORS, mmengine_registry.VISBACKENDS,
    mmengine_registry.VISUALIZERS, mmengine_registry.WEIGHT_INITIALIZERS))

REGISTRIES = (MODELS, LOSSES, OPTIM_WRAPPERS, HOOKS, SAMPLERS, DATASETS, TRANSFORMS, METRICS,
              MODEL_WRAPPERS, FUNCTIONS)
