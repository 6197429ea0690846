"""The pieces of a report: tables that sort, figures, legends, numbers as text."""

from html import escape
from typing import NamedTuple, Sequence

from ltcls.evaluation.scores import GROUPS

MISSING = '–'
CELLS = 15      # up to so many classes each bar or cell is labelled


class Cell(NamedTuple):
    """HTML of a table cell, its class, and what it is sorted by: None is missing, '' its text."""

    html: str
    value: float | str | None = None
    css: str = ''


def number(value: float | None, digits: int = 1, unit: str = '') -> Cell:
    """A number that is sorted as one."""
    if value is None:
        return Cell(MISSING)
    return Cell(f'{value:,.{digits}f}{unit}', value)


def significant(value: float | str | None) -> Cell:
    """A number of any size; a text stands for one that is not finite."""
    if value is None or isinstance(value, str):
        return Cell(value or MISSING)
    return Cell(f'{value:.3g}', value)


def words(text: str) -> Cell:
    """Text, sorted by the alphabet."""
    return Cell(escape(str(text)), '', 'left')


def run_cell(name: str, index: int) -> Cell:
    """The name of a run behind a dot of its colour."""
    return Cell(f'<i class="dot" style="background:{run_colour(index)}"></i>{escape(name)}', '',
                'left')


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], label: str, left: int = 1,
          best: dict[int, str] | None = None) -> str:
    """A table whose columns sort when their title is clicked.

    Args:
        head: titles.
        rows: cells.
        label: what the table holds, for its caption to screen readers.
        left: how many columns hold words and start at the left.
        best: by column, whether the 'max' or the 'min' is printed bold.
    """
    winners = {}
    for column, kind in (best or {}).items():
        values = [row[column].value for row in rows if isinstance(row[column].value, (int, float))]
        if len(set(values)) > 1:
            winners[column] = max(values) if kind == 'max' else min(values)
    lines = []
    for row in rows:
        cells = []
        for column, cell in enumerate(row):
            won = column in winners and cell.value == winners[column]
            css = f'{cell.css} best' if won else cell.css
            sort = '' if isinstance(cell.value, str) else \
                f' data-value="{"" if cell.value is None else repr(float(cell.value))}"'
            cells.append(f'<td{_css(css)}{sort}>{cell.html}</td>')
        lines.append(f'<tr>{"".join(cells)}</tr>')
    titles = ''.join(f'<th scope="col"{_css("left" if i < left else "")}><button type="button">'
                     f'{escape(title)}</button></th>' for i, title in enumerate(head))
    return (f'<div class="scroll"><table aria-label="{escape(label, quote=True)}"><thead><tr>'
            f'{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>')


def figure(title: str, picture: str, caption: str = '') -> str:
    """A picture with a title above and a caption below."""
    below = f'<figcaption>{caption}</figcaption>' if caption else ''
    return f'<figure><b>{escape(title)}</b>{picture}{below}</figure>'


def wide(picture: str) -> str:
    """A picture that scrolls on a narrow screen."""
    return f'<div class="scroll">{picture}</div>'


def panels(figures: Sequence[str]) -> str:
    """Pictures side by side, as many as fit."""
    return f'<div class="panels">{"".join(figures)}</div>'


def legend(names: Sequence[str], colours: Sequence[str]) -> str:
    """Colours and their meaning."""
    items = ''.join(f'<span><i style="background:{colour}"></i>{escape(name)}</span>'
                    for name, colour in zip(names, colours))
    return f'<div class="legend">{items}</div>'


def group_legend(record: dict) -> str:
    """The groups that the record has, with their rule."""
    shown = [name for name in GROUPS if name in record['groups']]
    return legend([f"{name}: {record['group_rule'][name]}" for name in shown],
                  [f'var(--{name})' for name in shown])


def run_colour(index: int) -> str:
    """The colour of a run, as a CSS variable."""
    return f'var(--r{index % 8})'


def part_colour(part: str) -> str:
    """The colour of 'overall' or of a group."""
    return f'var(--{part})' if part in GROUPS else 'var(--ink)'


def section(anchor: str, title: str, *parts: str) -> str:
    """A part of the report; without content, nothing."""
    body = ''.join(parts)
    return f'<section id="{anchor}"><h2>{escape(title)}</h2>{body}</section>' if body else ''


def _css(css: str) -> str:
    return f' class="{css.strip()}"' if css.strip() else ''
