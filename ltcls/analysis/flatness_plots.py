"""The pictures of flatness: fluctuation, curves, surfaces, curvature; of one run or of several."""

from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np

from .style import (GROUP_COLOURS, GROUP_TEXT, INK, METHOD_COLOURS, QUIET, literal, new_figure,
                    save, styled)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = dict(overall=INK, **GROUP_COLOURS)
HIGHEST = 10.0      # a surface is cut at this loss above its lowest, or the bottom cannot be seen


def write_flatness_plots(found: dict, folder: str | Path) -> list[Path]:
    """Write flatness.png and, where a surface was measured, landscape.png of one run."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = dict(flatness=plot_flatness([found], [found['name']]))
    if 'plane' in found:
        figures['landscape'] = plot_landscape(found)
    return [save(figure, folder / f'{name}.png') for name, figure in figures.items()
            if figure is not None]


@styled()
def plot_flatness(found: Sequence[dict], names: Sequence[str]) -> 'Figure | None':
    """The numbers of one run by group, or of several runs side by side; None without any.

    One panel for each noise (the loss of every draw less that of the trained weights), for SAM's
    sharpness, for the ends of the Hessian's spectrum, for its trace, and for each curve.
    """
    panels = []
    for i, row in enumerate(found[0].get('random', {}).get('noises', ())):
        panels.append((f"loss of each draw, {row['noise']} {row['scale']:g}",
                       lambda axes, i=i: _draw_fluctuation(axes, found, i)))
    if all('sam' in one for one in found):
        panels.append((f"rise in SAM's direction, rho {found[0]['sam']['rho']:g}",
                       lambda axes: _draw_numbers(axes, found, 'sam', ['sharpness'])))
    if all('hessian' in one for one in found):
        panels.append(('Hessian: largest and smallest eigenvalue',
                       lambda axes: _draw_numbers(axes, found, 'hessian',
                                                  ['top', 'bottom'])))
        panels.append(('Hessian: trace',
                       lambda axes: _draw_numbers(axes, found, 'hessian', ['trace'])))
    if all('line' in one for one in found):
        parts = [''] if len(found) == 1 else list(found[0]['line']['parts'])
        for part in parts:
            panels.append((f'along a random direction{part and ", " + part}',
                           lambda axes, part=part: _draw_lines(axes, found, part)))
    if not panels:
        return None
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 3.6 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, (title, draw) in zip(axes, panels):
        draw(place)
        place.set_title(title)
    for place in axes[len(panels):]:
        place.set_visible(False)
    if len(found) == 1:
        figure.suptitle(literal(names[0]), x=0.01, ha='left', fontsize=11, fontweight='bold')
    else:
        from matplotlib.patches import Patch
        figure.legend([Patch(color=_colour(i)) for i in range(len(names))], list(names),
                      loc='outside upper left', ncols=min(len(names), 6))
    return figure


@styled()
def plot_landscape(found: dict) -> 'Figure':
    """The loss over two random directions, as contours and as a surface."""
    steps = np.array(found['plane']['steps'])
    losses = np.array(found['plane']['parts']['overall']['losses'], dtype=float)
    losses = losses.reshape(len(steps), -1)
    shown = np.minimum(losses, losses.min() + HIGHEST)
    figure = new_figure(10.5, 4.6)
    flat = figure.add_subplot(1, 2, 1)
    levels = shown.min() + np.geomspace(0.02, max(np.ptp(shown), 0.03), 14)
    flat.contourf(steps, steps, shown.T, levels=[shown.min(), *levels], cmap='Blues_r',
                  extend='max')
    lines = flat.contour(steps, steps, shown.T, levels=levels, colors=INK, linewidths=0.5)
    flat.clabel(lines, fontsize=7, fmt='%.2f')
    flat.plot(0, 0, '+', color=GROUP_COLOURS['few'], markersize=10)
    flat.set(xlabel='first direction, filter lengths', ylabel='second direction', aspect='equal')
    flat.set_title('loss, + the trained weights')
    flat.grid(False)
    solid = figure.add_subplot(1, 2, 2, projection='3d')
    solid.plot_surface(*np.meshgrid(steps, steps, indexing='ij'), shown, cmap='Blues_r',
                       edgecolor=INK, linewidth=0.2, antialiased=True)
    solid.set(xlabel='first', ylabel='second', zlabel='loss')
    solid.view_init(28, -55)
    figure.suptitle(f"{literal(found['name'])}, overall, {found['plane']['split']} images",
                    x=0.01, ha='left', fontsize=11, fontweight='bold')
    return figure


def _draw_fluctuation(axes: 'Axes', found: Sequence[dict], i: int) -> None:
    rows = [one['random']['noises'][i]['parts'] for one in found]
    parts = list(rows[0])
    for place, number, part in _places(found, parts):
        row = rows[number].get(part)
        if row is None:
            continue
        rises = np.array(row['losses'], dtype=float) - row['loss']
        colour = _colour(number) if len(found) > 1 else COLOURS[part]
        spread = np.linspace(-0.25, 0.25, len(rises)) * 0.8 / len(found)
        axes.plot(place + spread, rises, 'o', color=colour, markersize=4, alpha=0.8)
        axes.hlines(rises.mean(), place - 0.35 / len(found), place + 0.35 / len(found),
                    color=colour, linewidth=2)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.set_ylabel('rise of the loss')
    _part_axis(axes, parts)


def _draw_numbers(axes: 'Axes', found: Sequence[dict], probe: str,
                  keys: Sequence[str]) -> None:
    parts = list(found[0][probe]['parts'])
    for place, number, part in _places(found, parts):
        row = found[number][probe]['parts'].get(part)
        if row is None:
            continue
        colour = _colour(number) if len(found) > 1 else COLOURS[part]
        for key in keys:
            error = row.get(f'{key}_error')
            axes.bar(place, row[key], 0.75 / len(found), color=colour,
                     yerr=error, ecolor=QUIET, capsize=2)
            if len(found) == 1:
                shift = (0, 3) if row[key] >= 0 else (0, -11)
                axes.annotate(f'{row[key]:.3g}', (place, row[key]), shift,
                              textcoords='offset points', ha='center', fontsize=8)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.margins(y=0.12)
    _part_axis(axes, parts)


def _draw_lines(axes: 'Axes', found: Sequence[dict], part: str) -> None:
    lowest = np.inf
    for number, one in enumerate(found):
        steps = one['line']['steps']
        for name in [name for name in one['line']['parts'] if part in ('', name)]:
            losses = np.array(one['line']['parts'][name]['losses'], dtype=float)
            lowest = min(lowest, losses.min())
            axes.plot(steps, losses, color=COLOURS[name] if not part else _colour(number),
                      label=name)
            if not part:
                axes.annotate(name, (steps[-1], min(losses[-1], losses.min() + HIGHEST)), (3, 0),
                              textcoords='offset points', fontsize=8,
                              color=GROUP_TEXT.get(name, INK))
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, lowest - 0.3), min(high, lowest + HIGHEST))
    axes.set(xlabel='filter lengths', ylabel='loss')
    axes.locator_params(axis='x', nbins=5)


def _places(found: Sequence[dict], parts: Sequence[str]):
    """Where each run's mark for each part stands: (x, number of the run, part)."""
    for number in range(len(found)):
        for x, part in enumerate(parts):
            yield x + (number - (len(found) - 1) / 2) * 0.8 / len(found), number, part


def _part_axis(axes: 'Axes', parts: Sequence[str]) -> None:
    axes.set_xticks(range(len(parts)), parts)
    axes.grid(False, axis='x')


def _colour(number: int) -> str:
    return METHOD_COLOURS[number % len(METHOD_COLOURS)]
