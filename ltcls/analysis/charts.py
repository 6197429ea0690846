"""Small charts as inline SVG, coloured by the page around them, for light and dark alike."""

import math
from html import escape
from typing import NamedTuple, Sequence


class Scale(NamedTuple):
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value; of one beyond the ends, the end."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values between the ends."""
        if self.log:
            powers = [10.0 ** k for k in range(math.floor(math.log10(self.low)),
                                               math.ceil(math.log10(self.high)) + 1)]
            for steps in ((1,), (1, 2, 5), range(1, 10)):
                found = [step * power for power in powers for step in steps
                         if self.low <= step * power <= self.high]
                if len(found) > 2:
                    break
            return found
        if not self.high > self.low:
            return [self.low]
        rough = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = power * min((s for s in (1, 2, 5, 10) if s * power >= rough), default=10)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 10) for k in range(first, last + 1)]


class Chart:
    """Axes and marks. `colour` is a CSS colour or variable; a `tip` shows under the pointer.

    Args:
        width, height: of the picture in CSS pixels at full size; it shrinks with the page.
        x, y: ends of the axes, (low, high).
        label: what the chart shows, for readers without eyes on it.
        margins: room at the left, top, right and bottom.
        log_y: a logarithmic vertical axis.
    """

    def __init__(self, width: int, height: int, x: tuple[float, float], y: tuple[float, float],
                 label: str, margins: tuple[int, int, int, int] = (46, 12, 10, 34),
                 log_y: bool = False):
        left, top, right, bottom = margins
        self.width, self.height, self.label = width, height, label
        self.x = Scale(*x, left, width - right)
        self.y = Scale(*y, height - bottom, top, log_y)
        self.below: list[str] = []
        self.marks: list[str] = []

    # -- axes ---------------------------------------------------------------------------------

    def y_axis(self, title: str = '', form: str = '{:g}', about: int = 5) -> None:
        """Grid lines, their values, and a title above the axis."""
        for value in self.y.ticks(about):
            y = self.y.at(value)
            self.below.append(f'<line class="grid" x1="{self.x.start}" x2="{self.x.end}" y1="{y}" '
                              f'y2="{y}"/>')
            self.below.append(f'<text class="tick" x="{self.x.start - 6}" y="{y + 3.5}" '
                              f'text-anchor="end">{form.format(value)}</text>')
        if title:
            middle = (self.y.start + self.y.end) / 2
            self.below.append(f'<text class="axis" text-anchor="middle" transform="translate(11 '
                              f'{middle:.1f}) rotate(-90)">{escape(title)}</text>')

    def x_axis(self, title: str, about: int = 5, whole: bool = False) -> None:
        """Values below, and a title."""
        for value in self.x.ticks(about):
            if not whole or value == int(value):
                self.below.append(f'<text class="tick" x="{self.x.at(value)}" '
                                  f'y="{self.y.start + 14}" text-anchor="middle">'
                                  f'{value:g}</text>')
        middle = (self.x.start + self.x.end) / 2
        self.below.append(f'<text class="axis" x="{middle:.1f}" y="{self.height - 4}" '
                          f'text-anchor="middle">{escape(title)}</text>')

    def x_names(self, names: Sequence[str], tilted: bool = False) -> None:
        """A name below each of 0, 1, 2, ..."""
        for place, name in enumerate(names):
            x, y = self.x.at(place), self.y.start + 14
            turn = (f' text-anchor="end" transform="rotate(-40 {x} {y - 4})"' if tilted
                    else ' text-anchor="middle"')
            self.below.append(f'<text class="name" x="{x}" y="{y}"{turn}>{escape(name)}</text>')

    # -- marks --------------------------------------------------------------------------------

    def line(self, points: Sequence[tuple[float, float]], colour: str, tip: str = '',
             dashed: bool = False, width: float = 1.8) -> None:
        """A line through points with finite values."""
        places = ' '.join(f'{self.x.at(x)},{self.y.at(y)}' for x, y in points
                          if math.isfinite(x) and math.isfinite(y))
        dash = ' stroke-dasharray="5 4"' if dashed else ''
        self._add(f'<polyline points="{places}" fill="none" style="stroke:{colour}" '
                  f'stroke-width="{width}"{dash} stroke-linejoin="round"', tip)

    def dot(self, x: float, y: float, colour: str, tip: str = '', radius: float = 3,
            ring: bool = False, opacity: float = 1) -> None:
        edge = ';stroke:var(--ink);stroke-width:1' if ring else ''
        faint = f' opacity="{opacity}"' if opacity < 1 else ''
        self._add(f'<circle cx="{self.x.at(x)}" cy="{self.y.at(y)}" r="{radius}" '
                  f'style="fill:{colour}{edge}"{faint}', tip)

    def interval(self, x: float, low: float, high: float, colour: str) -> None:
        """A vertical bar from low to high."""
        self._add(f'<line x1="{self.x.at(x)}" x2="{self.x.at(x)}" y1="{self.y.at(low)}" '
                  f'y2="{self.y.at(high)}" style="stroke:{colour}" stroke-width="1.4"')

    def level(self, y: float, first: float, last: float, colour: str, tip: str = '',
              width: float = 1.5, dashed: bool = False) -> None:
        """A horizontal line from x = first to x = last."""
        self.line([(first, y), (last, y)], colour, tip, dashed, width)

    def box(self, left: float, right: float, low: float, high: float, colour: str, tip: str = '',
            opacity: float = 1) -> None:
        """A rectangle between two x and two y values."""
        x, width = self.x.at(left), self.x.at(right) - self.x.at(left)
        top, bottom = self.y.at(high), self.y.at(low)
        faint = f' fill-opacity="{opacity:.3f}"' if opacity < 1 else ''
        self._add(f'<rect x="{x}" y="{top}" width="{max(width, 0.2):.2f}" '
                  f'height="{max(bottom - top, 0):.2f}" style="fill:{colour}"{faint}', tip)

    def text(self, x: float, y: float, words: str, css: str = 'name', anchor: str = 'middle',
             shift: tuple[float, float] = (0, 0)) -> None:
        """Words at a point of the axes, shifted by pixels."""
        self.marks.append(f'<text class="{css}" x="{self.x.at(x) + shift[0]:.1f}" '
                          f'y="{self.y.at(y) + shift[1]:.1f}" text-anchor="{anchor}">'
                          f'{escape(words)}</text>')

    def _add(self, opened: str, tip: str = '') -> None:
        name = opened[1:opened.index(' ')]
        self.marks.append(f'{opened}><title>{escape(tip)}</title></{name}>' if tip
                          else f'{opened}/>')

    def svg(self) -> str:
        """The picture."""
        return (f'<svg viewBox="0 0 {self.width} {self.height}" role="img" '
                f'style="max-width:{self.width}px" aria-label="{escape(self.label, quote=True)}">'
                f'{"".join(self.below)}{"".join(self.marks)}</svg>')


def ends(values: Sequence[float | None], zero: bool = False, margin: float = 0.06
         ) -> tuple[float, float]:
    """Lowest and highest finite value with some air, or (0, 1) without any."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    air = margin * (high - low) or 0.05 * abs(high) or 1.0
    return (min(0.0, low - air) if low < 0 else 0.0) if zero else low - air, high + air
