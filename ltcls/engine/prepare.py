"""From a config file and the command line to a config that is complete and checked."""

import difflib
import inspect
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from mmengine import registry as mmengine_registry
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ltcls import registry
from ltcls.engine.configs import find_config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Where a run is stored and what it was continued from do not make it another experiment.
NOT_THE_EXPERIMENT = ('work_dir', 'resume', 'load_from', 'launcher', 'log_level', 'visualizer')
TOP_LEVEL = {*inspect.signature(Runner.__init__).parameters, 'init_from', 'find_unused_parameters',
             'sync_bn', 'custom_imports'} - {'self', 'cfg'}
TRAIN_ARGUMENTS = {*inspect.signature(EpochBasedTrainLoop.__init__).parameters} - {
    'self', 'runner', 'dataloader'}
# The last three are mmengine's.
LOADER_ARGUMENTS = {*inspect.signature(DataLoader.__init__).parameters, 'num_batch_per_epoch',
                    'disable_subprocess_warning', 'diff_rank_seed'} - {'self'}


@dataclass
class Options:
    """What the command line says; it applies to every stage of a recipe."""

    work_dir: Path | None = None
    resume: str | bool = False          # True: the newest checkpoint; a path: that one
    seed: int | None = None
    cfg_options: dict = field(default_factory=dict)
    data_root: str | None = None
    skip_bad_images: bool = False
    dry_run: bool = False
    launcher: str = 'none'
    command: str = ''
    # Called after each stage with its record, its folder and its training log.
    report: Callable[[dict, Path, list[dict]], None] | None = None


def load_config(config: str | Path, options: Options) -> Config:
    """The complete, checked config of one stage.

    Raises:
        FileNotFoundError, ValueError: what is wrong, with the config key and the remedy.
    """
    path = find_config(config)
    try:
        cfg = Config.fromfile(str(path))
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f'{path} is not a readable config: {reason}') from error
    if options.cfg_options:
        _check_option_names(options.cfg_options, cfg)
        cfg.merge_from_dict(options.cfg_options)
    if options.seed is not None:
        cfg.merge_from_dict({'randomness.seed': options.seed})
    work_dir = options.work_dir or cfg.get('work_dir') or Path('work_dirs') / path.stem
    cfg.work_dir = str(work_dir)
    cfg.launcher = options.launcher
    for name in LOADERS:
        if cfg.get(name) is not None:
            _complete_loader(cfg[name], options)
    cfg.setdefault('val_cfg', dict())
    cfg.setdefault('test_cfg', dict())
    # The log is ours (TrainingLogHook); mmengine's own narration stays in the log file's warnings.
    cfg.setdefault('log_level', 'WARNING')
    check_config(cfg)
    if options.dry_run:
        from ltcls.engine.dry_run import shrink
        shrink(cfg)
    return cfg


def _complete_loader(loader: Config, options: Options) -> None:
    """What every loader needs and no config should have to say."""
    loader.setdefault('collate_fn', dict(type='ltcls.collate_batch'))
    loader.setdefault('worker_init_fn', dict(type='ltcls.seed_worker'))
    loader.setdefault('num_workers', 0)
    if not loader.num_workers:
        loader.pop('persistent_workers', None)
        loader.pop('prefetch_factor', None)
    if options.data_root is not None:
        loader.dataset.root = options.data_root
    if options.skip_bad_images:
        loader.dataset.skip_bad_images = True


# -- checking -----------------------------------------------------------------------------------

def check_config(cfg: Config) -> None:
    """Find what would fail later: values that cannot be stored, unknown names, unknown arguments.

    Raises:
        ValueError: one line with the config key and the remedy.
    """
    for name in cfg:
        _check_name(name, cfg, TOP_LEVEL, strict=False)
    for name in ('model', 'data_preprocessor', 'train_dataloader', 'optim_wrapper', 'train_cfg',
                 'test_dataloader', 'test_evaluator'):
        if cfg.get(name) is None:
            raise ValueError(f"The config has no '{name}': inherit it from a config in _base_/.")
    _check_values(cfg._cfg_dict.to_dict(), '')
    epochs = cfg.train_cfg.get('max_epochs')
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 0:
        raise ValueError(f'train_cfg.max_epochs={epochs!r} must be a number of epochs, 0 to '
                         'initialise and test.')
    for name in cfg.train_cfg:
        if name not in ('type', 'by_epoch'):
            _check_argument('train_cfg', 'training', name, TRAIN_ARGUMENTS)
    _check_init_from(cfg.get('init_from'))
    for key in LOADERS:
        for name in cfg.get(key) or ():
            _check_argument(key, 'a data loader', name, LOADER_ARGUMENTS)
    for key, node, table in _components(cfg):
        _check_component(key, node, table)


def _check_init_from(node) -> None:
    if node is None:
        return
    if not isinstance(node, dict) or set(node) != {'config', 'parts'}:
        raise ValueError(f"Config key 'init_from' must be dict(config=..., parts=[...]), it is "
                         f'{node!r}.')
    for part in node['parts'] if isinstance(node['parts'], (list, tuple)) else [None]:
        if not isinstance(part, str):
            raise ValueError(f"init_from.parts={node['parts']!r} must be a list of parts of the "
                             "model, e.g. ['backbone', 'head'].")
        near = difflib.get_close_matches(part, ('backbone', 'head'), n=1, cutoff=0.75)
        if near and near[0] != part:
            raise ValueError(f"init_from.parts names '{part}'. Did you mean '{near[0]}'?")


def _check_option_names(cfg_options: dict, cfg: Config) -> None:
    """A top-level key that no config has would be set and never be read."""
    for option in cfg_options:
        _check_name(option.split('.')[0], cfg, TOP_LEVEL | set(cfg), strict=True)


def _check_name(name: str, cfg: Config, known: set[str], strict: bool) -> None:
    if name in known or name == 'filename':
        return
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6 if strict else 0.85)
    if near or strict:
        hint = f" Did you mean '{near[0]}'?" if near else f" There are {', '.join(sorted(cfg))}."
        raise ValueError(f"The config has no key '{name}'.{hint}")


def _components(cfg: Config):
    """(config key, dict with a type, registry) of everything that a config builds by name."""
    def many(key, nodes, table):
        for index, node in enumerate(nodes or ()):
            yield f'{key}[{index}]', node, table

    model = dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    yield 'model', model, registry.MODELS
    yield 'model.backbone', model.get('backbone'), registry.MODELS
    yield 'model.head', model.get('head'), registry.MODELS
    yield 'model.loss', model.get('loss'), registry.LOSSES
    yield 'data_preprocessor', cfg.data_preprocessor, registry.MODELS
    yield 'data_preprocessor.mixing', cfg.data_preprocessor.get('mixing'), registry.MODELS
    yield from many('data_preprocessor.augment', cfg.data_preprocessor.get('augment'),
                    registry.TRANSFORMS)
    for name in LOADERS:
        loader = cfg.get(name)
        if loader is not None:
            yield f'{name}.dataset', loader.get('dataset'), registry.DATASETS
            yield from many(f'{name}.dataset.pipeline', loader.dataset.get('pipeline'),
                            registry.TRANSFORMS)
            yield f'{name}.sampler', loader.get('sampler'), registry.SAMPLERS
    for name in ('val_evaluator', 'test_evaluator'):
        node = cfg.get(name)
        if isinstance(node, (list, tuple)):
            yield from many(name, node, registry.METRICS)
        else:
            yield name, node, registry.METRICS
    yield 'optim_wrapper', cfg.optim_wrapper, registry.OPTIM_WRAPPERS
    yield 'optim_wrapper.optimizer', cfg.optim_wrapper.get('optimizer'), \
        mmengine_registry.OPTIMIZERS
    yield from many('param_scheduler', cfg.get('param_scheduler'),
                    mmengine_registry.PARAM_SCHEDULERS)
    for name, node in (cfg.get('default_hooks') or {}).items():
        yield f'default_hooks.{name}', node, registry.HOOKS
    yield from many('custom_hooks', cfg.get('custom_hooks'), registry.HOOKS)


def _check_component(key: str, node, table) -> None:
    if node is None:
        return
    if not isinstance(node, dict) or not isinstance(node.get('type'), str):
        raise ValueError(f"Config key '{key}' must be a dict with the 'type' of the component, "
                         f'it is {node!r}.')
    name = node['type']
    found = table.get(name)
    if found is None:
        message = (table.suggest(name) if isinstance(table, registry.Registry)
                   else _suggest(name, table))
        raise ValueError(f'{key}: {message}')
    accepted, others = _arguments(found)
    # What the engine adds, and what the registry itself reads.
    free = {'type', 'priority', '_scope_', 'init_cfg', 'paramwise_cfg', 'constructor',
            'convert_to_iter_based'}
    for argument in node:
        if argument not in free:
            _check_argument(key, name, argument, accepted, others)


def _check_argument(key: str, name: str, argument: str, accepted: set[str],
                    others: bool = False) -> None:
    """`others` are taken too; then only what looks like a slip of the pen is refused."""
    near = difflib.get_close_matches(argument, accepted, n=1, cutoff=0.85 if others else 0.6)
    if argument in accepted or (others and not near):
        return
    hint = (f" Did you mean '{near[0]}'?" if near
            else f" It takes: {', '.join(sorted(accepted)) or 'nothing'}.")
    raise ValueError(f"{key}: {name} has no argument '{argument}'.{hint}")


def _suggest(name: str, table) -> str:
    near = difflib.get_close_matches(name, list(table.module_dict), n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ''
    return f"'{name}' is not in the {table.name} registry.{hint}"


def _arguments(component) -> tuple[set[str], bool]:
    """Argument names of a class or function, and whether it takes others as well."""
    names: set[str] = set()
    classes = inspect.getmro(component) if inspect.isclass(component) else [component]
    for owner in classes:
        if inspect.isclass(owner) and '__init__' not in vars(owner):
            continue
        if owner is object:
            return names, False
        function = vars(owner)['__init__'] if inspect.isclass(owner) else owner
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return names, True
        names.update(p.name for p in parameters if p.name != 'self'
                     and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return names, False
        # **kwargs are handed to the next class up, in ltcls, in plugins and in mmengine's
        # schedulers alike; elsewhere nobody knows where they go.
        foreign = owner.__module__.split('.')[0] in ('torch', 'mmengine')
        if not inspect.isclass(owner) or (foreign and 'scheduler' not in owner.__module__):
            return names, True
    return names, True


def _check_values(node, key: str) -> None:
    """Configs hold plain values only: they are dumped, compared and stored as JSON."""
    if isinstance(node, dict):
        for name, value in node.items():
            _check_values(value, f'{key}.{name}' if key else str(name))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            _check_values(value, f'{key}[{index}]')
    elif isinstance(node, float) and not math.isfinite(node):
        raise ValueError(f"Config key '{key}' is {node}; write it as a string, '{node}'.")
    elif not isinstance(node, (str, int, float, bool, type(None))):
        raise ValueError(f"Config key '{key}' is a {type(node).__name__}; a config holds None, "
                         'bool, int, float, str, list, tuple and dict only.')


# -- identity of an experiment ------------------------------------------------------------------

def plain_config(cfg: Config) -> dict:
    """The config as JSON values, without what only says where the run is stored."""
    content = {name: value for name, value in cfg._cfg_dict.to_dict().items()
               if name not in NOT_THE_EXPERIMENT}
    return json.loads(json.dumps(content))


def first_difference(a, b, key: str = '') -> str | None:
    """The key of the first difference of two configs and both values; None if they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            path = f'{key}.{name}' if key else name
            if name not in a or name not in b:
                return f"{path} ({a.get(name, 'absent')!r} and {b.get(name, 'absent')!r})"
            found = first_difference(a[name], b[name], path)
            if found:
                return found
        return None
    return None if a == b else f'{key} ({a!r} and {b!r})'
