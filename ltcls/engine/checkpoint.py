"""Finding checkpoints of a run, and taking parts of them."""

from pathlib import Path
from typing import Sequence

import torch
from torch import nn

from ltcls.compat import load_from_disk


def finished_checkpoint(work_dir: Path, max_epochs: int) -> Path | None:
    """The checkpoint of the last epoch, if this run has come to its end."""
    path = Path(work_dir) / f'epoch_{max_epochs}.pth'
    return path if path.is_file() else None


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
    numbered = [(int(path.stem.split('_')[1]), path) for path in work_dir.glob('epoch_*.pth')
                if path.stem.split('_')[1].isdigit()]
    return max(numbered)[1] if numbered else None


def write_init(source: Path, target: Path, parts: Sequence[str]) -> None:
    """Write the wanted parts of a checkpoint, and its class counts, to `target`.

    Raises:
        ValueError: a part that the checkpoint does not have.
    """
    state = load_from_disk(str(source), map_location='cpu')['state_dict']
    wanted = {'class_counts': state['class_counts']} if 'class_counts' in state else {}
    for part in parts:
        found = {name: value for name, value in state.items() if name.startswith(f'{part}.')}
        if not found:
            known = sorted({name.split('.')[0] for name in state})
            raise ValueError(f"init_from.parts names '{part}', which {source} does not hold; it "
                             f"holds {', '.join(known)}.")
        wanted.update(found)
    temporary = target.with_suffix('.tmp')
    torch.save(dict(state_dict=wanted, parts=list(parts), source=source.parent.name), temporary)
    temporary.replace(target)


def load_init(model: nn.Module, path: Path) -> str:
    """Load what `write_init` wrote; returns one line that says what was and was not taken over.

    A head may leave out or add a parameter of its own (tau-norm drops the bias, LWS adds scales);
    the backbone must match in full.

    Raises:
        ValueError: another shape, a backbone that does not match, or no value that fits.
    """
    content = load_from_disk(str(path), map_location='cpu')
    state, own = content['state_dict'], model.state_dict()
    for name, value in state.items():
        if name in own and own[name].shape != value.shape:
            raise ValueError(f"init_from: '{name}' has shape {list(value.shape)} in the earlier "
                             f'stage and {list(own[name].shape)} here.')
    loaded = [name for name in state if name in own]
    left = [name for name in state if name not in own]
    new = [name for name in own if name not in state
           and any(name.startswith(f'{part}.') for part in content['parts'])]
    wrong = [name for name in [*left, *new] if name.startswith('backbone.')]
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
