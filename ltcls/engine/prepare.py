"""From a config file and the command line to a config that is complete and checked."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from mmengine.config import Config
from mmengine.dist import get_world_size

from ltcls.engine.check import LOADERS, check_config, check_option_names, check_shapes
from ltcls.engine.configs import find_config

# How a data set reads its images, and not which they are.
READING = ('pipeline', 'backend', 'in_memory', 'verify', 'skip_bad_images', 'download')
# Where a run is stored and what it was continued from do not make it another experiment.
NOT_THE_EXPERIMENT = ('work_dir', 'resume', 'load_from', 'launcher', 'log_level', 'visualizer')


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
    on_nan: str = 'stop'                # or 'skip': what becomes of a step that is not finite
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
        raise ValueError(f'{path} is not a readable config: {_reason(error)}') from error
    if options.cfg_options:
        check_option_names(options.cfg_options, cfg)
        merged = dict(options.cfg_options)
        if (cfg.get('train_cfg') or {}).get('max_epochs') == 0:     # there is nothing to train
            merged.pop('train_cfg.max_epochs', None)
        try:
            cfg.merge_from_dict(merged)
        except Exception as error:
            raise ValueError(f"--cfg-options {', '.join(options.cfg_options)} does not fit the "
                             f'config: {error}') from error
    check_shapes(cfg)
    if options.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=options.seed)
    work_dir = options.work_dir or cfg.get('work_dir') or Path('work_dirs') / path.stem
    cfg.work_dir = str(work_dir)
    cfg.launcher = options.launcher
    if cfg.get('find_unused_parameters') is not None:      # mmengine asks its own wrapper alone
        cfg.model_wrapper_cfg.find_unused_parameters = cfg.find_unused_parameters
    for name in LOADERS:
        if cfg.get(name) is not None:
            _complete_loader(cfg[name], options)
    if cfg.get('val_dataloader') is None:
        cfg.val_cfg = cfg.val_evaluator = None      # mmengine wants all of a validation or nothing
    cfg.setdefault('val_cfg', dict())
    cfg.setdefault('test_cfg', dict())
    # The log is ours (TrainingLogHook); mmengine's own narration stays in the log file's warnings.
    cfg.setdefault('log_level', 'WARNING')
    check_config(cfg)
    if options.dry_run:
        from ltcls.engine.dry_run import shrink
        shrink(cfg)
    return cfg


def patience(config: str | Path, options: Options) -> int | None:
    """`env_cfg.dist_cfg.timeout` of a config: seconds that processes wait for each other."""
    if options.launcher == 'none':
        return None
    env_cfg = load_config(config, options).get('env_cfg') or {}
    return (env_cfg.get('dist_cfg') or {}).get('timeout')


def _reason(error: Exception) -> str:
    """The first line of an error; of custom_imports that fail, that of the import itself."""
    if isinstance(error, ImportError) and error.__cause__ is not None:     # wrapped by mmengine
        cause = error.__cause__.__context__ or error.__cause__
        remedy = '; put the folder that it lies in on PYTHONPATH, or install its package.'
        return ('custom_imports cannot be imported: ' + _first_line(cause)
                + (remedy if isinstance(cause, ModuleNotFoundError) else ''))
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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


# -- identity of an experiment ------------------------------------------------------------------

def plain_config(cfg: Config) -> dict:
    """The config as JSON values, without what only says where the run is stored."""
    content = {name: value for name, value in cfg._cfg_dict.to_dict().items()
               if name not in NOT_THE_EXPERIMENT}
    if rate_scale(cfg) == 1:          # neither does a scaling by one
        content.pop('auto_scale_lr', None)
    return json.loads(json.dumps(content))


def images_of(dataset: dict) -> dict:
    """What the config of a data set says of which images it holds, and not of how they are read."""
    return {key: images_of(value) if isinstance(value, dict) else value
            for key, value in dataset.items() if key not in READING}


def images_a_step(cfg: Config) -> int:
    """The total batch: of all processes, and of all accumulated batches of a step."""
    return (cfg.train_dataloader.batch_size * get_world_size()
            * cfg.optim_wrapper.get('accumulative_counts', 1))


def rate_scale(cfg: Config) -> float:
    """What the learning rates are multiplied with: the total batch over the config's base batch."""
    scaling = cfg.get('auto_scale_lr') or {}
    if not scaling.get('enable'):
        return 1.0
    return images_a_step(cfg) / scaling['base_batch_size']


def first_difference(a, b, key: str = '') -> str | None:
    """The key of the first difference of two configs and both values; None if they are equal.

    How long processes wait for each other is none.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        # The scaling of learning rates only follows from what differs elsewhere.
        for name in sorted({*a, *b}, key=lambda name: (name == 'auto_scale_lr', name)):
            path = f'{key}.{name}' if key else name
            if path == 'env_cfg.dist_cfg':
                continue
            if name not in a or name not in b:
                return f"{path} ({a.get(name, 'absent')!r} and {b.get(name, 'absent')!r})"
            found = first_difference(a[name], b[name], path)
            if found:
                return found
        return None
    return None if a == b else f'{key} ({a!r} and {b!r})'
