"""What a config is checked for before anything is built: values, names, arguments, types."""

import difflib
import inspect
import math

from mmengine import registry as mmengine_registry
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ltcls import registry
from ltcls.datasets.decoding import pipeline_for
from ltcls.datasets.transforms import CONTAINERS
from ltcls.engine.values import arguments_of, check_value, signature_of

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
TOP_LEVEL = {*inspect.signature(Runner.__init__).parameters, 'init_from', 'find_unused_parameters',
             'sync_bn', 'custom_imports', 'model_wrapper_cfg'} - {'self', 'cfg'}
TRAIN_ARGUMENTS = {**signature_of(EpochBasedTrainLoop.__init__), 'by_epoch': bool}
# The last three are mmengine's.
LOADER_ARGUMENTS = {**signature_of(DataLoader.__init__), 'num_batch_per_epoch': int | None,
                    'disable_subprocess_warning': bool, 'diff_rank_seed': bool}
LIST_OR_DICT = dict | list | tuple | None
# What the top level holds; parts that are built by name are looked at one by one.
SHAPES = {
    **dict.fromkeys(('model', 'data_preprocessor', 'train_dataloader', 'optim_wrapper',
                     'train_cfg'), dict),
    **dict.fromkeys(('val_dataloader', 'test_dataloader', 'val_cfg', 'test_cfg', 'auto_scale_lr',
                     'default_hooks', 'env_cfg', 'log_processor', 'visualizer', 'randomness',
                     'custom_imports', 'model_wrapper_cfg'), dict | None),
    **dict.fromkeys(('val_evaluator', 'test_evaluator', 'param_scheduler'), LIST_OR_DICT),
    'custom_hooks': list | tuple | None, 'work_dir': str | None, 'load_from': str | None,
    'resume': bool, 'log_level': str | int, 'experiment_name': str | None,
    'find_unused_parameters': bool, 'sync_bn': str | None,
}
# Of parts that are no components: their keys and types.
PARTS = {
    'env_cfg': dict(cudnn_benchmark=bool, mp_cfg=dict | None, dist_cfg=dict | None,
                    resource_limit=int, resident_data=bool, keep_memory=bool),
    'env_cfg.mp_cfg': dict(mp_start_method=str, opencv_num_threads=int),
    'env_cfg.dist_cfg': dict(backend=str, timeout=int),
    'randomness': dict(seed=int | None, diff_rank_seed=bool, deterministic=bool),
    'optim_wrapper.clip_grad': dict(type=str, max_norm=float, norm_type=float | str,
                                    clip_value=float, error_if_nonfinite=bool,
                                    foreach=bool | None),
}
DEFAULT_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint',
                 'visualization', 'long_tail', 'epoch_seed', 'plain_checkpoint')
# Those that mmengine leaves out where they are None.
LEFT_OUT = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler')
# Arguments that the engine gives.
SUPPLIED = ('params', 'optimizer', 'param_name', 'dataset', 'num_features', 'num_classes',
            'data_preprocessor', 'module', 'runner')
# What is built from a dict of its own, or given by the engine.
BUILT = ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn')


def check_shapes(cfg: Config) -> None:
    """Find values of the wrong kind where the engine itself looks into the config.

    Raises:
        ValueError: one line with the config key, its value and what it must be.
    """
    for name, hint in SHAPES.items():
        if cfg.get(name) is not None:
            check_value(name, cfg[name], hint)
    if cfg.get('default_scope', 'ltcls') != 'ltcls':
        raise ValueError(f"Config key default_scope={cfg.default_scope!r} must be 'ltcls'; "
                         "components of another package are named with it, as 'package.Name'.")
    for name in LOADERS:
        if cfg.get(name) is not None:
            check_value(f'{name}.dataset', cfg[name].get('dataset'), dict)
            check_value(f'{name}.sampler', cfg[name].get('sampler'), dict | None)
            check_value(f'{name}.dataset.pipeline', cfg[name].dataset.get('pipeline'),
                        list | tuple | None)
    for part, key, hint in (('model', 'backbone', dict), ('model', 'head', dict),
                            ('model', 'loss', dict), ('data_preprocessor', 'mixing', dict | None),
                            ('data_preprocessor', 'augment', list | tuple | None),
                            ('optim_wrapper', 'optimizer', dict)):
        if cfg.get(part) is not None:
            check_value(f'{part}.{key}', cfg[part].get(key), hint)
    for part, known in PARTS.items():
        node = cfg
        for key in part.split('.'):
            node = (node or {}).get(key)
        if node is not None:
            check_value(part, node, dict)
        for name, value in (node or {}).items():
            _check_argument(part, part, name, known)
            check_value(f'{part}.{name}', value, known[name])
    for name in cfg.get('default_hooks') or {}:
        near = difflib.get_close_matches(name, DEFAULT_HOOKS, n=1, cutoff=0.8)
        if near and name not in DEFAULT_HOOKS:
            raise ValueError(f"default_hooks has no key '{name}'. Did you mean '{near[0]}'? Hooks "
                             'with names of your own go into custom_hooks.')
    dist_cfg = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    if dist_cfg.get('backend', 'nccl') != 'nccl':
        raise ValueError(f"Config key env_cfg.dist_cfg.backend={dist_cfg.backend!r}: processes meet "
                         "over 'nccl' on GPUs and over gloo without them; remove it.")
    _check_least('env_cfg.dist_cfg', dist_cfg, timeout=1)


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
    for name, value in cfg.train_cfg.items():
        if name != 'type':
            _check_argument('train_cfg', 'training', name, TRAIN_ARGUMENTS)
            check_value(f'train_cfg.{name}', value, TRAIN_ARGUMENTS[name])
    if cfg.train_cfg.get('by_epoch', True) is not True:
        raise ValueError(f'Config key train_cfg.by_epoch={cfg.train_cfg.by_epoch!r} must be True: '
                         'schedules, samplers and hooks here count epochs.')
    _check_least('train_cfg', cfg.train_cfg, val_interval=1, val_begin=0)
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and not 0 <= seed < 2 ** 32:
        raise ValueError(f'Config key randomness.seed={seed} must lie between 0 and 2 ** 32 - 1.')
    if cfg.get('load_from'):
        raise ValueError(f"Config key load_from='{cfg.load_from}' does not say what is taken over: "
                         "use init_from=dict(checkpoint=<file>, parts=['backbone', 'head']).")
    _check_init_from(cfg.get('init_from'))
    _check_scaling(cfg.get('auto_scale_lr'))
    _check_schedules(cfg.get('param_scheduler'))
    _check_end(cfg)
    for name, node in (cfg.get('default_hooks') or {}).items():
        if node is None and name not in LEFT_OUT:
            raise ValueError(f'Config key default_hooks.{name}=None: only '
                             f"{', '.join(LEFT_OUT)} can be left out; remove '{name}'.")
    for key in LOADERS:
        for name, value in (cfg.get(key) or {}).items():
            _check_argument(key, 'a data loader', name, LOADER_ARGUMENTS)
            if name not in BUILT:
                check_value(f'{key}.{name}', value, LOADER_ARGUMENTS[name])
        _check_least(key, cfg.get(key) or {}, batch_size=1, num_workers=0)
    _check_least('data_preprocessor', cfg.data_preprocessor, num_classes=2)
    _check_least('optim_wrapper', cfg.optim_wrapper, accumulative_counts=1)
    for key, node, table in _components(cfg):
        _check_component(key, node, table)


def check_names(cfg: Config) -> None:
    """Whether each class of the model and of the data sets is registered.

    Raises:
        ValueError: the config key, the nearest names, and the plugins that failed to load.
    """
    for key, node, table in _components(cfg):
        if node and key.startswith(('model', 'data_preprocessor', *LOADERS)):
            _registered(key, node['type'], table)


def _check_init_from(node) -> None:
    if node is None:
        return
    keys = set(node) if isinstance(node, dict) else set()
    if keys not in ({'config', 'parts'}, {'config', 'checkpoint', 'parts'}, {'checkpoint', 'parts'}):
        raise ValueError("Config key 'init_from' must be dict(config=..., parts=[...]), or "
                         f'dict(checkpoint=<file>, parts=[...]), it is {node!r}.')
    if 'config' in keys and node.get('checkpoint', 'last') not in ('last', 'best'):
        raise ValueError(f"init_from.checkpoint={node['checkpoint']!r} must be 'last' or 'best' of "
                         'the config; a file takes its place.')
    for part in node['parts'] if isinstance(node['parts'], (list, tuple)) else [None]:
        if not isinstance(part, str):
            raise ValueError(f"init_from.parts={node['parts']!r} must be a list of parts of the "
                             "model, e.g. ['backbone', 'head'].")
        near = difflib.get_close_matches(part, ('backbone', 'head'), n=1, cutoff=0.75)
        if near and near[0] != part:
            raise ValueError(f"init_from.parts names '{part}'. Did you mean '{near[0]}'?")


def _check_scaling(node) -> None:
    if node is None:
        return
    base = node.get('base_batch_size') if isinstance(node, dict) else None
    fine = isinstance(base, int) and base >= 1 and isinstance(node.get('enable', False), bool)
    if not fine or not set(node) <= {'base_batch_size', 'enable'}:
        raise ValueError(f"Config key 'auto_scale_lr' must be dict(base_batch_size=..., enable="
                         f'True) with the batch that the learning rate belongs to, it is {node!r}.')


def _check_schedules(nodes) -> None:
    """Times that cannot be; mmengine leaves out a schedule that begins after the last epoch."""
    for index, node in enumerate([nodes] if isinstance(nodes, dict) else nodes or ()):
        if isinstance(node, dict):
            key, begin = f'param_scheduler[{index}]', node.get('begin', 0)
            _check_least(key, node, begin=0, T_max=1)
            _check_least(key, node, end=begin + 1)
            if str(node.get('type')).startswith('ReduceOnPlateau'):
                raise ValueError(f"{key}: {node['type']} follows validations, and not all of them "
                                 'are repeated after --resume: use a schedule by epochs.')


def _check_end(cfg: Config) -> None:
    """What would leave a run without the checkpoint of its last epoch, which is its result."""
    key, node = 'default_hooks.checkpoint', (cfg.get('default_hooks') or {}).get('checkpoint')
    if node is None:
        raise ValueError(f"Config key '{key}' must be a CheckpointHook: a run ends with the "
                         'checkpoint that is tested, resumed from and started from.')
    for name, value in dict(by_epoch=True, save_last=True, filename_tmpl=None,
                            out_dir=None).items():
        if node.get(name, value) != value:
            raise ValueError(f'Config key {key}.{name}={node[name]!r}: a run ends with its last '
                             f"epoch's checkpoint in its own folder; remove '{name}'.")
    for index, hook in enumerate(cfg.get('custom_hooks') or ()):
        if isinstance(hook, dict) and hook.get('type') == 'EarlyStoppingHook':
            raise ValueError(f'custom_hooks[{index}]: EarlyStoppingHook ends a run before its last '
                             'epoch, whose result counts here: lower train_cfg.max_epochs.')


def check_option_names(cfg_options: dict, cfg: Config) -> None:
    """A top-level key that no config has would be set and never be read."""
    for option in cfg_options:
        _check_name(option.split('.')[0], cfg, TOP_LEVEL | set(cfg), strict=True)


def _check_name(name: str, cfg: Config, known: set[str], strict: bool) -> None:
    if name in known or name == 'filename':
        return
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6 if strict else 0.75)
    if near or strict:
        hint = f" Did you mean '{near[0]}'?" if near else f" There are {', '.join(sorted(cfg))}."
        raise ValueError(f"The config has no key '{name}'.{hint}")


def _components(cfg: Config):
    """(config key, dict with a type, registry) of everything that a config builds by name."""
    def many(key, nodes, table):
        if isinstance(nodes, dict):
            yield key, nodes, table
            return
        for index, node in enumerate(nodes or ()):
            yield f'{key}[{index}]', node, table

    def transforms(key, nodes):
        for place, node, table in many(key, nodes, registry.TRANSFORMS):
            yield place, node, table
            if isinstance(node, dict) and node.get('type') in CONTAINERS:
                inside = node.get('transforms')
                if isinstance(inside, (list, tuple)):
                    yield from transforms(f'{place}.transforms', inside)

    model = dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    yield 'model', model, registry.MODELS
    yield 'model.backbone', model.get('backbone'), registry.MODELS
    yield from _parts_of_experts(model)
    yield 'model.head', model.get('head'), registry.MODELS
    yield 'model.loss', model.get('loss'), registry.LOSSES
    yield 'data_preprocessor', cfg.data_preprocessor, registry.MODELS
    yield 'data_preprocessor.mixing', cfg.data_preprocessor.get('mixing'), registry.MODELS
    yield from transforms('data_preprocessor.augment', cfg.data_preprocessor.get('augment'))
    for name in LOADERS:
        loader = cfg.get(name)
        if loader is not None:
            yield f'{name}.dataset', loader.get('dataset'), registry.DATASETS
            for key, pipeline in _pipelines(f'{name}.dataset', loader.dataset):
                yield from transforms(key, pipeline)
            yield f'{name}.sampler', loader.get('sampler'), registry.SAMPLERS
    for name in ('val_evaluator', 'test_evaluator'):
        yield from many(name, cfg.get(name), registry.METRICS)
    yield 'optim_wrapper', cfg.optim_wrapper, registry.OPTIM_WRAPPERS
    yield 'optim_wrapper.optimizer', cfg.optim_wrapper.get('optimizer'), \
        mmengine_registry.OPTIMIZERS
    yield from many('param_scheduler', cfg.get('param_scheduler'),
                    mmengine_registry.PARAM_SCHEDULERS)
    for name, node in (cfg.get('default_hooks') or {}).items():
        yield f'default_hooks.{name}', node, registry.HOOKS
    yield 'model_wrapper_cfg', cfg.get('model_wrapper_cfg'), registry.MODEL_WRAPPERS
    yield from many('custom_hooks', cfg.get('custom_hooks'), registry.HOOKS)


def _parts_of_experts(model: dict):
    backbone, head = model.get('backbone'), model.get('head')
    if isinstance(backbone, dict) and 'network' in backbone:
        options = {key: value for key, value in backbone.items()
                   if key not in ('type', 'network', 'experts')}
        yield 'model.backbone.network', dict(options, type=backbone['network']), registry.MODELS
    if isinstance(head, dict) and 'expert' in head:
        yield 'model.head.expert', head['expert'], registry.MODELS


def _pipelines(key: str, dataset: dict):
    """(config key, configs of transforms) of a data set, and of those an open set is made of."""
    for part in ('known', 'unknown'):
        if isinstance(dataset.get(part), dict):
            yield from _pipelines(f'{key}.{part}', dataset[part])
    pipeline = dataset.get('pipeline') or ()
    check_value(f'{key}.pipeline', pipeline, list | tuple)
    yield f'{key}.pipeline', pipeline_for(pipeline, str(dataset.get('backend')))


def _check_component(key: str, node, table) -> None:
    if node is None:
        return
    if not isinstance(node, dict) or not isinstance(node.get('type'), str):
        raise ValueError(f"Config key '{key}' must be a dict with the 'type' of the component, "
                         f'it is {node!r}.')
    name = node['type']
    found = _registered(key, name, table)
    accepted, others = arguments_of(found)
    # What the engine adds, and what the registry itself reads.
    free = {'type', 'priority', '_scope_', 'paramwise_cfg', 'constructor', 'convert_to_iter_based'}
    for argument, value in node.items():
        if argument not in free:
            _check_argument(key, name, argument, accepted, others)
            if argument in accepted:
                check_value(f'{key}.{argument}', value, accepted[argument].annotation)
    absent = [argument for argument, parameter in accepted.items() if argument not in node
              and parameter.default is parameter.empty and argument not in SUPPLIED]
    if absent:
        raise ValueError(f"{key}: {name} needs the argument '{absent[0]}'.")


def _registered(key: str, name: str, table):
    """What is registered by this name; ValueError with the nearest names if nothing is."""
    try:
        found = table.get(name)
    except Exception:         # a dot in the name makes mmengine import what stands before it
        found = None
    if found is None:
        message = (table.suggest(name) if isinstance(table, registry.Registry)
                   else _suggest(name, table))
        raise ValueError(f'{key}: {message}')
    return found


def _check_least(key: str, node: dict, **least: int) -> None:
    """Integers of the node, where it has them, that must not be smaller than these."""
    for name, limit in least.items():
        value = node.get(name, limit)
        if not isinstance(value, int) or isinstance(value, bool) or value < limit:
            raise ValueError(f'Config key {key}.{name}={value!r} must be an integer of at least '
                             f'{limit}.')


def _check_argument(key: str, name: str, argument: str, accepted: dict,
                    others: bool = False) -> None:
    """`others` are taken too; then only what looks like a slip of the pen is refused."""
    if argument in accepted:
        return
    near = (difflib.get_close_matches(argument, ['type'], n=1, cutoff=0.7)
            or difflib.get_close_matches(argument, accepted, n=1, cutoff=0.8 if others else 0.6))
    if others and not near:
        return
    hint = (f" Did you mean '{near[0]}'?" if near
            else f" It takes: {', '.join(sorted(accepted)) or 'nothing'}.")
    raise ValueError(f"{key}: {name} has no argument '{argument}'.{hint}")


def _suggest(name: str, table) -> str:
    near = difflib.get_close_matches(name, list(table.module_dict), n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ''
    return f"'{name}' is not in the {table.name} registry.{hint}"


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
