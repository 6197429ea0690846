"""One look for every picture: colours, fonts, the class axis, making and writing a figure."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

from ltcls.evaluation.scores import GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Paul Tol's high-contrast scheme: told apart by colour-blind readers and in a grey print.
GROUP_COLOURS = dict(many='#004488', medium='#DDAA33', few='#BB5566')
GROUP_TEXT = dict(GROUP_COLOURS, medium='#997700')     # the yellow is too pale for letters
GROUP_MARKERS = dict(many='o', medium='s', few='^')
# Okabe and Ito's colours and a grey, for methods.
METHOD_COLOURS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#F0E442',
                  '#000000', '#999999')
NAMED_CLASSES = 30          # up to here classes are named on an axis
INK, QUIET, GRID = '#222222', '#777777', '#DDDDDD'

SETTINGS = {
    'font.family': 'DejaVu Sans',
    'font.size': 10,
    'axes.titlesize': 11,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.labelcolor': INK,
    'axes.edgecolor': QUIET,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': GRID,
    'grid.linewidth': 0.7,
    'xtick.color': QUIET,
    'ytick.color': QUIET,
    'xtick.labelcolor': INK,
    'ytick.labelcolor': INK,
    'legend.frameon': False,
    'legend.fontsize': 9,
    'lines.linewidth': 1.8,
    'figure.facecolor': 'white',
    'savefig.facecolor': 'white',
}


@contextmanager
def styled() -> Iterator[None]:
    """The look, for what is drawn inside; other users of matplotlib keep theirs."""
    import matplotlib
    with matplotlib.rc_context(SETTINGS):
        yield


def new_figure(width: float, height: float) -> 'Figure':
    """A figure in inches that needs no display: it has its own Agg canvas, not pyplot's state."""
    from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout='constrained')


def save(figure: 'Figure', path: Path) -> Path:
    """Write a figure as a PNG."""
    with styled():
        figure.savefig(path, dpi=150)
    return path


def by_count(record: dict) -> list[dict]:
    """The record's classes: many, medium, few; in each the most training images first."""
    return sorted(record['per_class'], key=lambda row: (
        GROUPS.index(row['group']), -row['train_count'], row['index']))


def group_spans(rows: list[dict]) -> list[tuple[str, int, int]]:
    """Name, first and last place of each group among the classes in this order."""
    groups = [row['group'] for row in rows]
    return [(name, groups.index(name), groups.index(name) + groups.count(name) - 1)
            for name in GROUPS if name in groups]


def literal(name: str) -> str:
    """A class's or run's name as matplotlib has to be given it, to draw it letter by letter.

    Dollar signs would begin a formula, an underscore at the start keeps a name out of legends, and
    bytes of a folder's name that are no UTF-8 cannot be drawn.
    """
    name = name.encode('utf-8', 'replace').decode().replace('$', r'\$')
    return f' {name}' if name.startswith('_') else name


def class_axis(axes: 'Axes', rows: list[dict], label: str = 'class', axis: str = 'x') -> None:
    """Class names up to 30 classes, else the rank by training images."""
    ticks = axes.set_xticks if axis == 'x' else axes.set_yticks
    named = len(rows) <= NAMED_CLASSES
    if named:
        names = [row['name'] if len(row['name']) <= 16 else row['name'][:15] + '…' for row in rows]
        tilted = axis == 'x' and max(map(len, names)) > 3
        turn = dict(rotation=40, ha='right', rotation_mode='anchor') if tilted else {}
        ticks(range(len(rows)), list(map(literal, names)), **turn)
    else:
        label += ' (0 has the most training images)'
    name_axis = axes.set_xlabel if axis == 'x' else axes.set_ylabel
    name_axis('' if named and label == 'class' else label)
    axes.grid(False, axis=axis)
