"""Recipes: a stage may start from another config, which is trained first if it has to be."""

from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, is_main_process

from ltcls.engine.checkpoint import (best_checkpoint, damage, finished_checkpoint,
                                     latest_checkpoint, newest_sound_checkpoint, read_checkpoint,
                                     write_init)
from ltcls.engine.configs import find_config
from ltcls.engine.distributed import check_shared
from ltcls.engine.interruption import says_how_to_go_on, stops_on_request
from ltcls.engine.prepare import (Options, first_difference, images_of, load_config,
                                  plain_config)
from ltcls.engine.same_data import begin_anew, fingerprint_of
from ltcls.engine.stage import (announce, read_stored_config, run_stage, started_from_selected,
                                validates_on_test)
from ltcls.evaluation.record import read_record
from ltcls.registry import MODELS

PATIENCE = 60                             # seconds between two words to the ranks that wait
PARTS = ('backbone', 'head', 'loss')      # of every model of ltcls
# A run that goes on from a checkpoint may be longer, and measure and keep other things.
MAY_CHANGE = ('train_cfg', 'val_cfg', 'val_dataloader', 'val_evaluator', 'test_cfg',
              'test_dataloader', 'test_evaluator', 'default_hooks')


def run(config: str | Path, options: Options) -> dict:
    """Train a config: its earlier stages first, then this one; returns its evaluation record.

    An earlier stage lives in a sibling of this run's folder, named after its config. It is used as
    it is if it has come to its end, resumed if it is half done, trained if there is nothing. All
    options but the folder apply to every stage.

    Raises:
        ValueError: a run in the folder that was made with another config, or that is half done
            while `options.resume` does not ask for its rest.
    """
    with stops_on_request():
        return _run(check_all(config, options), options, resume=options.resume)


def stages(config: str | Path, options: Options,
           later: tuple[Path, ...] = ()) -> list[tuple[Path, Config]]:
    """Config files and complete configs of a recipe, the first stage first.

    Args:
        later: the stages that have led here, their files without links.
    """
    path = find_config(config)
    if path.resolve() in later:
        raise ValueError(f'{path}: init_from leads back to this config itself.')
    try:
        cfg = load_config(path, options)
    except ValueError as error:
        if not later:
            if options.cfg_options and len(stages(config, replace(options, cfg_options={}))) > 1:
                raise ValueError(f'{error} Options of the command line apply to every stage; what '
                                 'is meant for one takes a config that inherits it.') from error
            raise
        raise ValueError(f'{path.stem}, an earlier stage, to which options of the command line '
                         f'apply as well: {error}') from error
    if 'config' not in (cfg.get('init_from') or {}):
        return [(path, cfg)]
    earlier = earlier_config(path, cfg)
    below = replace(options, work_dir=_beside(cfg, earlier))
    return [*stages(earlier, below, (*later, path.resolve())), (path, cfg)]


def _beside(cfg: Config, earlier: Path) -> Path:
    """The folder of an earlier stage: a sibling of this run's, also where that is '.' or '..'."""
    work_dir = Path(cfg.work_dir)
    parent = work_dir / '..' if work_dir.name in ('', '..') else work_dir.parent
    return parent / earlier.stem


def check_all(config: str | Path, options: Options) -> list[tuple[Path, Config]]:
    """The stages, checked before the first one trains."""
    found = stages(config, options)
    _check_apart(found)
    for (_, cfg), (_, later) in zip(found, found[1:]):
        _check_folder(cfg, resume=True, earlier=True)
        _check_parts(cfg, later)
        _check_best(cfg, later)
    first = found[0][1].get('init_from')
    if first and not Path(first.checkpoint).is_file():
        raise FileNotFoundError(f'init_from.checkpoint: there is no file {first.checkpoint}.')
    if isinstance(options.resume, str) and not Path(options.resume).is_file():
        raise FileNotFoundError(f'--resume: there is no checkpoint {options.resume}.')
    _check_folder(found[-1][1], options.resume)
    return found


def _check_apart(found: list[tuple[Path, Config]]) -> None:
    """Every stage needs a folder of its own; a run would wait for itself to leave it."""
    taken: dict[Path, str] = {}
    for path, cfg in found:
        folder = Path(cfg.work_dir).resolve()
        if folder in taken:
            raise ValueError(f'{cfg.work_dir} is the folder of the earlier stage {taken[folder]}, '
                             'which needs one of its own: choose another with --work-dir, or '
                             'rename one of the configs.')
        taken[folder] = path.stem


def _check_parts(earlier: Config, cfg: Config) -> None:
    """Find a part that no model of ltcls has before the earlier stage is trained for it."""
    name = earlier.model.type
    if MODELS.get(name).__module__.startswith('ltcls.'):
        for part in cfg.init_from.parts:
            if part.split('.')[0] not in PARTS:
                raise ValueError(f"init_from.parts names '{part}', which {name} does not have; it "
                                 f"holds {', '.join(PARTS)}.")


def _check_best(earlier: Config, cfg: Config) -> None:
    """Find out before the earlier stage is trained that it would keep no best checkpoint."""
    hook = (earlier.get('default_hooks') or {}).get('checkpoint') or {}
    if cfg.init_from.get('checkpoint') == 'best' and not hook.get('save_best'):
        raise ValueError("init_from.checkpoint='best': the earlier stage keeps no best checkpoint; "
                         "set default_hooks.checkpoint.save_best='accuracy' there.")


def earlier_config(path: Path, cfg: Config) -> Path:
    """The config file that `init_from.config` names: beside this one, or by `find_config`."""
    name = str(cfg.init_from.config)
    for beside in (path.parent / name, path.parent / f'{name}.py'):
        if beside.is_file():
            return beside
    return find_config(Path(name).stem if '/' in name and '::' not in name else name)


def _check_folder(cfg: Config, resume: bool | str, earlier: bool = False) -> None:
    """A folder with checkpoints must hold a run of this config: finished, or to be resumed.

    How it is evaluated may differ where that is still to be done, or done in a later stage.
    """
    work_dir, epochs = Path(cfg.work_dir), cfg.train_cfg.max_epochs
    if work_dir.exists() and not work_dir.is_dir():
        raise ValueError(f'{work_dir} is a file: choose another folder with --work-dir.')
    finished = finished_checkpoint(work_dir, epochs) is not None
    newest = latest_checkpoint(work_dir)
    if isinstance(resume, str) and not finished:
        _check_source(cfg, Path(resume))
        return
    if newest is None:
        return
    stored, given = read_stored_config(work_dir), plain_config(cfg)
    for config in (stored or {}, given) if earlier or not finished else ():
        config.pop('val_evaluator', None)
        config.pop('test_evaluator', None)
    difference = stored and first_difference(stored, given)
    if difference:
        ended = (stored.get('train_cfg') or {}).get('max_epochs', epochs)
        ended = finished_checkpoint(work_dir, ended) is not None
        raise ValueError(f"{work_dir} holds {'a finished' if ended else 'an unfinished'} run of "
                         f'another config: they differ in {difference}. If it was begun '
                         f"{_other_option(difference.partition(' ')[0], stored, given)}; otherwise "
                         + (begin_anew(work_dir) if earlier
                            else 'choose another folder with --work-dir') + '.')
    if not finished and not resume:
        raise ValueError(f'{work_dir} holds an unfinished run, {newest.name} of {epochs} epochs: '
                         'continue it with --resume, or choose another folder with --work-dir.')


def _check_source(cfg: Config, checkpoint: Path) -> None:
    """A checkpoint beside the config of its run is gone on from with this config only.

    Else the record would name for all epochs what was used in the last ones.
    """
    stored, given = read_stored_config(checkpoint.parent), plain_config(cfg)
    for config in (stored or {}, given):
        for key in MAY_CHANGE:
            config.pop(key, None)
    difference = stored and first_difference(stored, given)
    if difference:
        raise ValueError(f'--resume: {checkpoint} is of a run of another config: they differ in '
                         f'{difference}. If it was begun '
                         f"{_other_option(difference.partition(' ')[0], stored, given)}; otherwise "
                         'start from it with init_from=dict(checkpoint=...), or go on all the same '
                         'from a copy of it in a folder without config.json.')


def _other_option(key: str, stored: dict, given: dict) -> str:
    """With or without which option the stored run may have been begun, and what to do then."""
    options = {'dataset.skip_bad_images': '--skip-bad-images', 'dataset.root': '--data-root',
               'randomness.seed': '--seed'}
    option = options.get(key.partition('_dataloader.')[2] or key)
    if key in ('model.precision', 'model.channels_last'):       # --amp sets both
        then, now = (_is_amp(config) for config in (stored, given))
        if then != now:
            return f"with{'' if then else 'out'} --amp, {'repeat it' if then else 'leave it out'}"
    if option is None:
        return 'with other --cfg-options, repeat those'
    then = stored
    for name in key.split('.'):
        then = then.get(name)
    if then is None or then is False:
        return f'without {option}, leave it out'
    return f"with {option if then is True else f'{option} {then}'}, repeat it"


def _is_amp(config: dict) -> bool:
    model = config.get('model') or {}
    return model.get('precision') == 'bfloat16' and model.get('channels_last') is True


def _run(found: list[tuple[Path, Config]], options: Options, resume: bool | str,
         earlier: bool = False) -> dict:
    """The last of these stages, after those before it where they are not finished."""
    work_dir = Path(found[-1][1].work_dir)
    with alone_in(work_dir):
        check_shared(work_dir)
        return _run_alone(found, options, resume, earlier)


def _run_alone(found: list[tuple[Path, Config]], options: Options, resume: bool | str,
               earlier: bool) -> dict:
    path, cfg = found[-1]
    work_dir = Path(cfg.work_dir)
    finished, newest, recorded, lines = _found_by_first_rank(cfg, resume, earlier)
    for line in lines:
        announce(line)
    if finished is not None and recorded:
        record = read_record(work_dir / 'evaluation.json')
        data = (fingerprint_of(record, 'train') or 'unknown')[:12]
        announce(f'{path.stem}: finished before in {work_dir}, on data {data}, used as it is')
        return record
    init, selected = None, False
    if cfg.get('init_from') is not None:
        source, selected, same_data = _start(found, options)
        init = work_dir / 'init.pth'
        if is_main_process():
            write_init(source, init, cfg.init_from.parts, same_data)
        barrier()
    checkpoint = None
    if finished is not None:
        checkpoint = finished
    elif resume or lines:             # lines: the run had come to its end, in a damaged file
        checkpoint = Path(resume) if isinstance(resume, str) else newest
    with nullcontext() if options.dry_run else says_how_to_go_on(work_dir):
        return run_stage(path, cfg, options, init=init, checkpoint=checkpoint, selected=selected)


def _start(found: list[tuple[Path, Config]], options: Options) -> tuple[Path, bool, bool]:
    """The checkpoint that a stage starts from, made first where it has to be; whether it was chosen
    among others on the test set, as far as one can know; whether it has the images of this stage."""
    *before, (_, cfg) = found
    if not before:
        source = Path(cfg.init_from.checkpoint)
        selected = (source.name.startswith('best_')
                    or started_from_selected(read_checkpoint(source)))
        return source, selected, False
    selected = _run(before, options, resume=True, earlier=True).get('selected_on_test', False)
    _, stage = before[-1]
    same_data = (images_of(stage.train_dataloader.dataset)
                 == images_of(cfg.train_dataloader.dataset))
    if cfg.init_from.get('checkpoint') == 'best':
        return best_checkpoint(stage.work_dir), selected or validates_on_test(stage), same_data
    return finished_checkpoint(stage.work_dir, stage.train_cfg.max_epochs), selected, same_data


def _found_by_first_rank(cfg: Config, resume: bool | str, earlier: bool
                         ) -> tuple[Path | None, Path | None, bool, list[str]]:
    """What the first rank sees, for all ranks: the finished and the newest checkpoint, and whether
    there is a record.

    Damaged files are passed over, with a line on each.

    Raises:
        ValueError: a run of another config, from a process that was waited for; checkpoints, but
            no complete one; a damaged record.
    """
    work_dir, max_epochs = Path(cfg.work_dir), cfg.train_cfg.max_epochs
    found: list = [None, None, False, [], None]
    if is_main_process():
        finished = finished_checkpoint(work_dir, max_epochs)
        try:
            _check_folder(cfg, resume, earlier)
            newest, lines = newest_sound_checkpoint(work_dir)
            if finished is not None and newest != finished and damage(finished):
                finished = None
            found = [finished, newest, finished is not None and _recorded(work_dir, max_epochs),
                     lines, None]
        except ValueError as error:
            found[-1] = str(error)
    broadcast_object_list(found)
    if found[-1]:
        raise ValueError(found[-1])
    return tuple(found[:-1])


def _recorded(work_dir: Path, max_epochs: int) -> bool:
    """Whether the record is that of the last epoch: one before it may have been tested here."""
    path = work_dir / 'evaluation.json'
    return path.is_file() and read_record(path).get('epoch') == max_epochs


@contextmanager
def alone_in(work_dir: Path):
    """Hold the folder of a run against other processes, and wait for one that holds it.

    Two recipes that share a stage may so be started side by side: one trains it, the other waits
    and uses it. The lock ends with the process, however it ends.
    """
    lock = FileLock(work_dir / '.lock')
    if is_main_process():
        work_dir.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            announce(f'waiting for another process that trains in {work_dir}')
    try:
        # In turns, since ranks that wait for the first one give up after some minutes.
        held = [lock.is_locked]
        broadcast_object_list(held)
        while not held[0]:
            if is_main_process():
                with suppress(Timeout):
                    lock.acquire(timeout=PATIENCE)
                held = [lock.is_locked]
            broadcast_object_list(held)
        yield
    finally:
        lock.release()
