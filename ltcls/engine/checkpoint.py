"""Finding checkpoints of a run, judging them, and taking parts of them."""

import zipfile
from pathlib import Path
from typing import Sequence

import torch
from torch import nn

from ltcls.compat import load_from_disk, save_to_disk
from ltcls.engine.same_data import check_classes, check_images


def finished_checkpoint(work_dir: Path, max_epochs: int) -> Path | None:
    """The checkpoint of the last epoch, if this run has come to its end."""
    path = Path(work_dir) / f'epoch_{max_epochs}.pth'
    return path if path.is_file() else None


def best_checkpoint(work_dir: Path) -> Path:
    """The checkpoint of a run's best validation.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = sorted(Path(work_dir).glob('best_*.pth'))
    if len(found) != 1:
        names = ', '.join(path.name for path in found) or 'none'
        raise ValueError(f"init_from.checkpoint='best' needs one best checkpoint in {work_dir}, "
                         f'there is {names}: train that stage with one metric in '
                         'default_hooks.checkpoint.save_best.')
    return found[0]


def latest_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint of a run: the one `last_checkpoint` names, else the highest epoch.

    The name is looked up in the run's own folder, so a folder may have been moved.
    """
    work_dir = Path(work_dir)
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        path = work_dir / Path(pointer.read_text().strip()).name
        if path.is_file():
            return path
    numbered = _numbered(work_dir)
    return max(numbered)[1] if numbered else None


def _numbered(work_dir: Path) -> list[tuple[int, Path]]:
    """The checkpoints of finished epochs with their numbers, in no order."""
    return [(number, path) for path in Path(work_dir).glob('epoch_*.pth')
            if (number := _number(path)) is not None]


def _number(path: Path) -> int | None:
    text = path.stem.partition('_')[2]
    return int(text) if text.isdecimal() else None


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file as a file, or None. Reads all of it."""
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except Exception as error:      # zipfile raises many kinds for broken files
        return str(error) or type(error).__name__
    return bad and f'{bad} does not have its checksum'


def newest_sound_checkpoint(work_dir: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is complete, and a line on each newer one that is not.

    Raises:
        ValueError: checkpoints, but no complete one.
    """
    named = latest_checkpoint(work_dir)
    if named is None:
        return None, []
    others = sorted(_numbered(work_dir), reverse=True)
    newer, number = [], _number(named)
    for path in [named, *(path for n, path in others if number is None or n < number)]:
        problem = damage(path)
        if problem is None:
            return path, [f'{line}: {path.name} is used instead' for line in newer]
        newer.append(f'{path} is damaged ({problem})')
    raise ValueError(f"{'; '.join(newer)}. No other checkpoint is there: remove what is listed to "
                     'begin anew.')


def read_checkpoint(path: Path) -> dict:
    """What a checkpoint file holds, on the CPU, without running code that it may hold.

    Raises:
        FileNotFoundError, ValueError: no such file; one that is damaged or asks for more than data.
    """
    if zipfile.is_zipfile(path):        # torch does not compare the checksums
        problem = damage(path)
        if problem is not None:
            raise ValueError(f'{path} is damaged: {problem}.')
    return load_from_disk(str(path), map_location='cpu')


def check_fits(model: nn.Module, content: dict, path: Path, resume: bool = False) -> None:
    """Refuse a checkpoint of another model, which would be loaded in part without a word.

    Args:
        content: of the file.
        resume: also ask for what only a run under way leaves.

    Raises:
        ValueError: the first thing that is absent, unknown, of another shape or not finite.
    """
    state = content.get('state_dict') if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"{path} is no checkpoint of ltcls: it has no 'state_dict' of tensors.")
    if resume:
        meta = content.get('meta')
        counts = [meta.get(key) for key in ('epoch', 'iter')] if isinstance(meta, dict) else []
        if 'optimizer' not in content or not counts or not all(isinstance(n, int) for n in counts):
            raise ValueError(f'{path} holds weights, but not the state of a training: it cannot be '
                             'resumed. Start from it with init_from.')
    own = model.state_dict()
    # Whether there are class counts is judged where they are used.
    absent = [name for name in own if name not in state
              and name != 'class_counts' and 'num_batches_tracked' not in name]
    unknown = [name for name in state if name not in own]
    for names, what in ((absent, 'lacks'), (unknown, 'holds')):
        if names:
            more = f' and {len(names) - 1} more' if len(names) > 1 else ''
            where = 'which the model of this config has' if what == 'lacks' else (
                'which the model of this config does not have')
            raise ValueError(f"{path} {what} '{names[0]}'{more}, {where}: test and resume it with "
                             'the config it was trained with.')
    for name, value in state.items():
        if value.shape != own[name].shape:
            raise ValueError(f"{path} has '{name}' of shape {list(value.shape)}, the model of this "
                             f'config of shape {list(own[name].shape)}: use the config it was '
                             'trained with (another number of classes?).')
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{path} holds values in '{name}' that are NaN or infinite.")


def write_init(source: Path, target: Path, parts: Sequence[str], same_data: bool = False) -> None:
    """Write the wanted parts of a checkpoint, and its class counts, to `target`.

    With them go the class names that a head belongs to, and the fingerprint of the images if the
    stages are to be trained on the same ones.

    Raises:
        ValueError: a file that is none of ours, or a part that it does not have.
    """
    content = read_checkpoint(source)
    state = content.get('state_dict') if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f"init_from: {source} is no checkpoint of ltcls, it has no 'state_dict'. "
                         'Weights of other programs go into the arguments of the backbone.')
    wanted = {'class_counts': state['class_counts']} if 'class_counts' in state else {}
    for part in parts:
        found = {name: value for name, value in state.items() if name.startswith(f'{part}.')}
        if not found:
            known = sorted({name.split('.')[0] for name in state})
            raise ValueError(f"init_from.parts names '{part}', which {source} does not hold; it "
                             f"holds {', '.join(known)}.")
        wanted.update(found)
    trained, meta = content.get('meta') or {}, {}
    if 'head' in parts:
        meta['dataset_meta'] = trained.get('dataset_meta')
    if same_data:
        meta['fingerprints'] = trained.get('fingerprints')
    save_to_disk(dict(state_dict=wanted, parts=list(parts), source=source.parent.name, meta=meta),
                 str(target))


def load_init(model: nn.Module, path: Path, dataset=None) -> str:
    """Load what `write_init` wrote; returns one line that says what was and was not taken over.

    `dataset`, for training, is compared with the one of the earlier stage.

    A head may leave out or add a parameter of its own (tau-norm drops the bias, LWS adds scales);
    the backbone must match in full, but for what it states in `added` (prompts).

    Raises:
        ValueError: another shape, a backbone that does not match, or no value that fits; classes
            of other names, or other images.
    """
    content = load_from_disk(str(path), map_location='cpu')
    if dataset is not None:
        source = f"the earlier stage {content['source']}"
        check_classes(source, content['meta'], dataset, 'train_dataloader')
        check_images(source, content['meta'], dataset, path.parent.parent / content['source'])
    state, own = content['state_dict'], model.state_dict()
    if 'class_counts' in state and state['class_counts'].shape != own['class_counts'].shape:
        del state['class_counts']       # of other classes
    for name, value in state.items():
        if name in own and own[name].shape != value.shape:
            raise ValueError(f"init_from: '{name}' has shape {list(value.shape)} in the earlier "
                             f'stage and {list(own[name].shape)} here.')
    loaded = [name for name in state if name in own]
    left = [name for name in state if name not in own]
    new = [name for name in own if name not in state
           and any(name.startswith(f'{part}.') for part in content['parts'])]
    added = {f'backbone.{name}' for name in getattr(model.backbone, 'added', ())}
    wrong = [name for name in [*left, *new]
             if name.startswith('backbone.') and name not in added]
    if wrong or not loaded:
        raise ValueError(f'init_from: the backbone of the earlier stage does not fit this one, '
                         f"first difference '{(wrong or ['nothing fits'])[0]}'.")
    model.load_state_dict({name: state[name] for name in loaded}, strict=False)
    line = f"init from {content['source']}: {', '.join(content['parts'])}"
    if left:
        line += f"; not used here: {', '.join(left)}"
    if new:
        line += f"; new here: {', '.join(new)}"
    return line
