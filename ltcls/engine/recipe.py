"""Recipes: a stage may start from another config, which is trained first if it has to be."""

from dataclasses import replace
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from ltcls.engine.checkpoint import finished_checkpoint, latest_checkpoint, write_init
from ltcls.engine.configs import find_config
from ltcls.engine.prepare import Options, first_difference, load_config, plain_config
from ltcls.engine.stage import announce, read_stored_config, run_stage
from ltcls.evaluation.record import read_record


def run(config: str | Path, options: Options) -> dict:
    """Train a config: its earlier stages first, then this one; returns its evaluation record.

    An earlier stage lives in a sibling of this run's folder, named after its config. It is used as
    it is if it has come to its end, resumed if it is half done, trained if there is nothing. All
    options but the folder apply to every stage.

    Raises:
        ValueError: a finished run in the folder that was made with another config.
    """
    check_all(config, options)
    return _run(config, options, resume=options.resume)


def stages(config: str | Path, options: Options) -> list[tuple[Path, Config]]:
    """Config files and complete configs of a recipe, the first stage first."""
    path = find_config(config)
    cfg = load_config(path, options)
    if cfg.get('init_from') is None:
        return [(path, cfg)]
    earlier = earlier_config(path, cfg)
    below = replace(options, work_dir=Path(cfg.work_dir).parent / earlier.stem)
    found = stages(earlier, below)
    if path in [p for p, _ in found]:
        raise ValueError(f'{path}: init_from leads back to this config itself.')
    return [*found, (path, cfg)]


def check_all(config: str | Path, options: Options) -> None:
    """Check every stage before the first one trains."""
    for path, cfg in stages(config, options):
        _differs_from_stored(path, cfg)


def earlier_config(path: Path, cfg: Config) -> Path:
    """The config file that `init_from.config` names: beside this one, or a shipped one by name."""
    name = str(cfg.init_from.config)
    beside = path.parent / name
    if beside.is_file():
        return beside
    return find_config(Path(name).stem if '/' in name else name)


def _differs_from_stored(path: Path, cfg: Config) -> None:
    if finished_checkpoint(cfg.work_dir, cfg.train_cfg.max_epochs) is None:
        return
    stored = read_stored_config(cfg.work_dir)
    difference = stored and first_difference(stored, plain_config(cfg))
    if difference:
        raise ValueError(f'{cfg.work_dir} holds a finished run of another config: they differ in '
                         f'{difference}. Choose another folder with --work-dir.')


def _run(config: str | Path, options: Options, resume: bool | str) -> dict:
    path = find_config(config)
    cfg = load_config(path, options)
    work_dir = Path(cfg.work_dir)
    record = work_dir / 'evaluation.json'
    finished = finished_checkpoint(work_dir, cfg.train_cfg.max_epochs)
    if finished is not None and record.is_file():
        announce(f'{path.stem}: finished before in {work_dir}, used as it is')
        return read_record(record)
    init = None
    if cfg.get('init_from') is not None:
        earlier = earlier_config(path, cfg)
        below = replace(options, work_dir=work_dir.parent / earlier.stem)
        _run(earlier, below, resume=True)
        stage = load_config(earlier, below)
        source = finished_checkpoint(stage.work_dir, stage.train_cfg.max_epochs)
        init = work_dir / 'init.pth'
        if is_main_process():
            work_dir.mkdir(parents=True, exist_ok=True)
            write_init(source, init, cfg.init_from.parts)
        barrier()
    checkpoint = None
    if finished is not None:
        checkpoint = finished
    elif resume:
        checkpoint = Path(resume) if isinstance(resume, str) else latest_checkpoint(work_dir)
        if isinstance(resume, str) and not checkpoint.is_file():
            raise FileNotFoundError(f'--resume: there is no checkpoint {checkpoint}.')
    return run_stage(path, cfg, options, init=init, checkpoint=checkpoint)
