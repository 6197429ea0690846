"""One stage: build the runner, train, test, write the record and the pictures."""

import copy
import itertools
import json
import logging
import os
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process
from mmengine.runner import Runner
from torch import nn

from ltcls.datasets.loading import check_loader
from ltcls.datasets.overlap import check_apart
from ltcls.engine.checkpoint import check_fits, load_init, read_checkpoint
from ltcls.engine.device import (fuse_optimizer, keep_freed_memory, pin_batches, place_data,
                                 slow_precision)
from ltcls.engine.dry_run import without_weights
from ltcls.engine.interruption import InterruptionHook
from ltcls.engine.prepare import (Options, images_a_step, images_of, plain_config,
                                  rate_scale)
from ltcls.engine.same_data import check_classes, check_images, other_test_images
from ltcls.evaluation.record import (build_record, forget_peak_memory, peak_memory,
                                     training_log, write_record)
from ltcls.hooks.long_tail import fingerprints
from ltcls.hooks.training_log import stop_progress
from ltcls.hooks.unwrap import bare
from ltcls.longtail import shot_groups

CONFIG_NAME = 'config.json'
# mmengine warns of its own use of its own old names at every start, and of each frozen parameter
# where learning rates differ by parameter, and of gradients that AccumulationHook does not lose.
NOISE = ('FileClient', 'HardDiskBackend', 'is skipped since its requires_grad=False',
         'Resumed iteration number is not divisible')
_runners = itertools.count()


def announce(line: str) -> None:
    """A line on the terminal, from the first rank only."""
    if is_main_process():
        print(line, flush=True)


class _Runner(Runner):
    def dump_config(self) -> None:
        """Not this one, fitted to machine and checkpoint, but the one given: `store_config`."""

    def resume(self, filename: str, *arguments, **options) -> None:
        """Errors of the optimizer and the schedulers on what they are to resume name the file."""
        try:
            super().resume(filename, *arguments, **options)
        except Exception as error:
            raise ValueError(f'{filename} cannot be resumed with this config: {error}') from error


def build_runner(cfg: Config) -> Runner:
    """mmengine's Runner, quiet on the terminal, with its log file open for our own lines."""
    cfg = copy.deepcopy(cfg)
    cfg.param_scheduler = active_schedulers(cfg)
    if cfg.get('auto_scale_lr'):
        # mmengine counts what a process loads at once; a step may gather several such batches.
        cfg.auto_scale_lr.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)
    fuse_optimizer(cfg, get_device())
    pin_batches(cfg, get_device())
    if get_device() == 'cpu' and cfg.get('env_cfg', {}).get('keep_memory', True):
        keep_freed_memory()
    # mmengine keeps log and message hub by this name, also beyond the life of a runner.
    cfg.experiment_name = f'{Path(cfg.work_dir).name}_{os.getpid()}_{next(_runners)}'
    runner = _Runner.from_cfg(cfg)
    for handler in runner.logger.handlers:
        handler.addFilter(lambda line: not any(text in line.getMessage() for text in NOISE))
        if isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.INFO)
    return runner


def active_schedulers(cfg: Config) -> list[dict]:
    """The schedulers that begin before the last epoch; mmengine refuses to build the others."""
    schedulers = cfg.get('param_scheduler') or []
    schedulers = schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]
    last = cfg.train_cfg.max_epochs
    return [scheduler for scheduler in schedulers
            if last and (scheduler.get('begin', 0) < last or not scheduler.get('by_epoch', True))]


def run_stage(path: Path, cfg: Config, options: Options, init: Path | None = None,
              checkpoint: Path | None = None, selected: bool = False) -> dict:
    """Train one stage from `init`, or on from `checkpoint`; test it; return its record.

    `selected` says that `init` was chosen among others by its accuracy on the test set.
    """
    started = time.time()
    forget_peak_memory()
    work_dir = Path(cfg.work_dir)
    if checkpoint is not None:
        content = read_checkpoint(checkpoint)
        selected = selected or was_selected(cfg, checkpoint, content)
        cfg.load_from, cfg.resume = str(checkpoint), True
    runner = build_runner(cfg if checkpoint is None else _going_on(cfg, content))
    runner.selected_on_test = selected        # LongTailHook notes it in the checkpoints
    opening = _opening(path, cfg, runner)
    for line in [opening, *_trained_share(bare(runner.model)), *_scaling(cfg), *_slow(cfg)]:
        announce(line)
        runner.logger.info(line)
    if cfg.train_cfg.max_epochs and not any(p.requires_grad for p in runner.model.parameters()):
        raise ValueError(f"model.frozen={cfg.model.get('frozen')} leaves nothing to train: free a "
                         'part, or set train_cfg.max_epochs=0.')
    give_data(runner, cfg, runner.train_loop, runner.val_loop, runner.test_loop)
    _check_metrics(runner)
    for name, loop in (('val', runner.val_loop), ('test', runner.test_loop)):
        if loop is not None:
            check_apart(runner.train_dataloader.dataset, loop.dataloader.dataset, name)
            check_loader(loop.dataloader, name)
    check_loader(runner.train_dataloader, 'train')
    register_engine_hooks(runner, options)
    if checkpoint is not None:
        check_fits(bare(runner.model), content, checkpoint, resume=cfg.train_cfg.max_epochs > 0)
        _check_data(runner, content.get('meta') or {}, checkpoint)
        if cfg.train_cfg.max_epochs:
            _check_iterations(runner, content['meta'], checkpoint)
        del content
        announce(f'continuing from {checkpoint.name}')
    elif init is not None:
        announce(load_init(bare(runner.model), init, runner.train_dataloader.dataset))
    # Not before: a run that is refused must not change the config of the one that is there.
    store_config(work_dir, cfg)
    try:
        runner.train()
    finally:
        stop_progress(runner)
    if cfg.train_cfg.max_epochs == 0 and checkpoint is None:
        runner.save_checkpoint(str(work_dir), 'epoch_0.pth', meta=dict(epoch=0, iter=0),
                               save_param_scheduler=False)
    runner.test()
    return finish_record(runner, path, cfg, options, wall_time=time.time() - started,
                         data=fingerprints(runner), epoch=cfg.train_cfg.max_epochs,
                         seed=runner.seed, selected_on_test=selected)


def _going_on(cfg: Config, content: dict) -> Config:
    """The config for a run that resumes: with its seed, and without weights to load."""
    cfg = without_weights(cfg)
    if (cfg.get('randomness') or {}).get('seed') is None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=content.get('meta', {}).get('seed'))
    return cfg


def test_checkpoint(path: Path, cfg: Config, checkpoint: Path, options: Options) -> dict:
    """Test a checkpoint with a config; writes evaluation.json and the pictures to the work_dir."""
    started = time.time()
    forget_peak_memory()
    cfg.load_from = str(checkpoint)
    content = read_checkpoint(checkpoint)
    runner = build_runner(without_weights(cfg))
    check_fits(bare(runner.model), content, checkpoint)
    trained = content.get('meta', {})
    check_classes(checkpoint, trained, runner.test_dataloader.dataset, 'test_dataloader')
    for line in other_test_images(checkpoint, trained, runner.test_dataloader.dataset):
        announce(line)
    give_data(runner, cfg, runner.test_loop)
    check_loader(runner.test_loop.dataloader, 'test')
    runner.test()
    return finish_record(
        runner, path, cfg, options, wall_time=time.time() - started,
        data={**(trained.get('fingerprints') or {}), **fingerprints(runner)},
        epoch=trained.get('epoch'), seed=trained.get('seed'),
        selected_on_test=was_selected(cfg, checkpoint, content))


def was_selected(cfg: Config, checkpoint: Path, content: dict) -> bool:
    """Whether a checkpoint, or what it started from, was chosen among others on the test set."""
    best = checkpoint.name.startswith('best_') and validates_on_test(cfg)
    return best or started_from_selected(content)


def started_from_selected(content: dict) -> bool:
    """Whether a checkpoint says that what it started from was chosen on the test set."""
    meta = content.get('meta') if isinstance(content, dict) else None
    return isinstance(meta, dict) and bool(meta.get('selected_on_test'))


def register_engine_hooks(runner: Runner, options: Options) -> None:
    """What every training has, whatever its config says, and what does not make it another one."""
    runner.register_hook(dict(type='NaNGuardHook', on_nan=options.on_nan))
    runner.register_hook(InterruptionHook())
    runner.register_hook(dict(type='AccumulationHook'))
    runner.register_hook(dict(type='FusedOptimizerHook'))
    if get_world_size() > 1:
        runner.register_hook(dict(type='SyncStatisticsHook'))


def _check_iterations(runner: Runner, meta: dict, checkpoint: Path) -> None:
    """Refuse to go on with another number of iterations an epoch.

    Batch and data are those of the config: what changes it is the number of processes, with which
    batches, rates and the place in the schedule would be others.
    """
    epoch, done, length = meta['epoch'], meta['iter'], len(runner.train_dataloader)
    if epoch and done != epoch * length:
        raise ValueError(f'{checkpoint} has {done / epoch:g} iterations an epoch, and here it would '
                         f'be {length} with {get_world_size()} processes: continue with as many '
                         'processes as before, or begin anew with another --work-dir.')


def _check_data(runner: Runner, meta: dict, checkpoint: Path) -> None:
    """Refuse to go on with other classes or images, under which no run goes on as it was."""
    train = runner.train_dataloader.dataset
    check_classes(checkpoint, meta, train, 'train_dataloader')
    check_images(checkpoint, meta, train, checkpoint.parent)
    for line in other_test_images(checkpoint, meta, runner.test_dataloader.dataset):
        announce(line)


def _check_metrics(runner: Runner) -> None:
    """Find before the training that its test would leave no record, or what rules do not fit."""
    if not any(hasattr(metric, 'record') for metric in runner.test_loop.evaluator.metrics):
        raise ValueError('test_evaluator has no metric that makes a record: add ShotAccuracy.')
    counts = runner.train_dataloader.dataset.metainfo['class_counts']
    for loop in (runner.val_loop, runner.test_loop):
        for metric in loop.evaluator.metrics if loop is not None else ():
            if hasattr(metric, 'rule'):
                shot_groups(counts, metric.rule)


def give_data(runner: Runner, cfg: Config, *loops) -> None:
    """Images in memory go where the model is, unless env_cfg.resident_data=False."""
    if cfg.get('env_cfg', {}).get('resident_data', True):
        loaders = [loop.dataloader for loop in loops if loop is not None]
        place_data(loaders, next(runner.model.parameters()).device)


def _opening(path: Path, cfg: Config, runner: Runner) -> str:
    dataset = runner.train_dataloader.dataset
    counts = dataset.metainfo['class_counts']
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    return (f'{path.stem}: {len(dataset)} images of {len(counts)} classes, '
            f'{max(counts)} to {min(counts)} a class; data {dataset.fingerprint[:12]}; seed '
            f'{runner.seed}; {where}; {cfg.work_dir}')


def _trained_share(model: nn.Module) -> list[str]:
    """A line where a part of the model does not train."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    total = sum(size for size, _ in sizes)
    trained = sum(size for size, trains in sizes if trains)
    if trained == total:
        return []
    return [f'{trained:,} of {total:,} parameters train ({trained / total:.2%})']


def _scaling(cfg: Config) -> list[str]:
    """A line where the batch is not the one that the config's learning rate belongs to."""
    factor = rate_scale(cfg)
    if factor == 1 or not cfg.train_cfg.max_epochs:
        return []
    return [f'{images_a_step(cfg)} images a step instead of {cfg.auto_scale_lr.base_batch_size}: '
            f'learning rates are multiplied with {factor:g}']


def _slow(cfg: Config) -> list[str]:
    """A line where the processor has no arithmetic for the config's precision."""
    precision = cfg.model.get('precision')
    if not slow_precision(precision, get_device()):
        return []
    return [f"warning: this CPU has no arithmetic for model.precision='{precision}' and takes many "
            'times as long as with float32: stop, and use --cfg-options model.precision=float32 in '
            'place of --amp or of what the config says']


# -- what a run leaves behind -------------------------------------------------------------------

def store_config(work_dir: Path, cfg: Config) -> None:
    """Write the config that a run is made with: as text, and for the comparison with later ones."""
    if is_main_process():
        work_dir.mkdir(parents=True, exist_ok=True)
        text = copy.deepcopy(cfg)
        text.load_from, text.resume = None, False
        text.dump(work_dir / Path(cfg.filename).name)
        write_record(work_dir / CONFIG_NAME, plain_config(cfg))


def read_stored_config(work_dir: str | Path) -> dict | None:
    """The config that the run in this folder was made with; None if there is none."""
    path = Path(work_dir) / CONFIG_NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is not a JSON file ({error}): remove it, or choose another '
                         'folder with --work-dir.') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds no config: remove it, or choose another folder with '
                         '--work-dir.')
    return content


def finish_record(runner: Runner, path: Path, cfg: Config, options: Options, wall_time: float,
                  data: dict[str, str], epoch: int | None, seed: int | None,
                  selected_on_test: bool = False) -> dict:
    """The metric's record, completed by what only the engine knows, written to evaluation.json.

    `data` holds fingerprints; `epoch` and `seed` are those of the weights that were tested;
    `selected_on_test` if they, or those they started from, were chosen among others by their
    accuracy there.
    """
    if not is_main_process():
        return {}
    work_dir = Path(cfg.work_dir)
    log = training_log(work_dir)
    record = build_record(
        next(m.record for m in runner.test_loop.evaluator.metrics if hasattr(m, 'record')),
        name=path.stem,
        config=plain_config(cfg),
        seed=seed,
        fingerprints=data,
        epoch=epoch,
        best=best_epoch(log, 'test' if validates_on_test(cfg) else 'validation'),
        selected_on_test=selected_on_test,
        command=options.command,
        wall_time=round(wall_time, 1),
        training_time=round(sum(entry['time'] for entry in log), 1),
        precision=cfg.model.get('precision') or 'float32',
        parameters=sum(p.numel() for p in bare(runner.model).parameters()),
        peak_memory=peak_memory())
    write_record(work_dir / 'evaluation.json', record)
    if options.report is not None:
        options.report(record, work_dir, log)
    return record


def validates_on_test(cfg: Config) -> bool:
    if cfg.get('val_dataloader') is None:
        return False
    return images_of(cfg.val_dataloader.dataset) == images_of(cfg.test_dataloader.dataset)


def best_epoch(log: list[dict], on: str) -> dict | None:
    """Epoch and accuracy of the best validation, beside the result, which is the last epoch's.

    Args:
        on: 'test' or 'validation', the images that it was measured on.
    """
    scored = [entry for entry in log if 'accuracy' in entry.get('val', {})]
    if not scored:
        return None
    best = max(scored, key=lambda entry: entry['val']['accuracy'])
    return dict(epoch=best['epoch'], accuracy=best['val']['accuracy'], on=on)
