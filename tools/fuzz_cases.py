"""What a fault is: how its input is written, what is run on it, what the answer must say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

BASE = 'ltcls::ce/ce_resnet20_digits.py'


@dataclass
class Case:
    """One broken input on the disk.

    Args:
        arguments: of `ltcls`; '{run}' stands for the folder of the run.
        culprits: the error names one of them.
        suggestion: the error holds it, too.
        words: what an end without an error must say, where the input is unusual and right.
        reads: run in place of a command; what is wrong with what was read, or None.
    """

    arguments: list
    culprits: tuple = ()
    suggestion: str = ''
    words: tuple = ()
    reads: Callable[[], str | None] | None = None


@dataclass(frozen=True)
class Fault:
    """A fault by its name, and the function that writes its input into a folder."""

    what: str
    write: Callable[[Path], Case]

    def __call__(self, folder: Path) -> Case:
        return self.write(folder)


def config_text(content: dict) -> str:
    """A complete config as Python; the model comes last, so that no beginning of it is complete."""
    last = {name: content[name] for name in ('model',) if name in content}
    rest = {name: value for name, value in content.items() if name not in last}
    return ''.join(f'{name} = {value!r}\n' for name, value in {**rest, **last}.items())


def write_config(folder: Path, text: str, name: str = 'faulty_small_digits.py') -> Path:
    path = folder / name
    path.write_text(text, encoding='utf-8')
    return path
